"""Repair failed Azure ML online-endpoint deployments, one straight walk per failure.

==========================  ===================================================  ==========
stage                       what it makes                                        module
==========================  ===================================================  ==========
1. receive                  a raw event -> `Reception` (perhaps an `Incident`)   intake
2. enrich                   `Incident` -> `Evidence`                             enrichment
3. look                     `Evidence` with what the nominated causes ask for    surroundings
4. classify                 `Evidence` -> `Diagnosis`                            classification
5. propose                  `Diagnosis` -> `Plan`                                planning
6. survey                   `Plan` -> `Situation`                                situation
7. decide                   `Plan` + `Situation` -> `Decision`                   guards
8. execute                  a step of the plan -> `Outcome`                      execution
9. verify                   `Outcome` + fresh evidence -> `Verification`         verification
10. record                  any of them -> `AuditRecord`                         audit
==========================  ===================================================  ==========

An undo that somebody asks for walks the same way: `undoing` tells what can be undone, `undone` reads what that rests
on.

Each value is frozen and names the one before it; nothing walks back to ask. What is known about failures grows in
`catalogue`, what can be done about them in `actions`. The outside world is behind `ports`, and only `services` knows
which adapter stands behind which port.
"""
