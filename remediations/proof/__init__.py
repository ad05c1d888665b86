"""What makes the trail provable: chained lines, a tree over their ends, and signed checkpoints of that tree.

=============  ======================================================================================================
`chain`        one audit record <-> its line, and the hash that links it to the line before
`merkle`       the tree of RFC 6962
`checkpoint`   what is signed, and the signature
`anchoring`    anchor: the trail -> the next checkpoint
`checking`     verify: a trail, or a copy of one -> what holds, and the first that does not
`proving`      prove: a record of a trail -> a proof that holds without it
=============  ======================================================================================================
"""
