"""Every cause that is known, a module per family of errors. Adding one: its entry, and a line in CHANGELOG.md."""

from remediations.catalogue import identities, images, models, operations, quota
from remediations.catalogue.cause import Catalogue

CAUSES = Catalogue(
    (
        *operations.CAUSES,
        *images.CAUSES,
        *identities.CAUSES,
        *models.CAUSES,
        *quota.CAUSES,
    )
)
