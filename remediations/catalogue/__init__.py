"""Every cause that is known, a module per family of errors. Adding one: its entry, and a line in CHANGELOG.md."""

from remediations.catalogue import cluster, container, identities, images, models, operations, quota, scoring, spec
from remediations.catalogue.index import Catalogue

CAUSES = Catalogue(
    (
        *operations.CAUSES,
        *images.CAUSES,
        *identities.CAUSES,
        *models.CAUSES,
        *quota.CAUSES,
        *container.CAUSES,
        *scoring.CAUSES,
        *cluster.CAUSES,
        *spec.CAUSES,
    )
)
