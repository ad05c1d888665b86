"""A checker of Bicep files that needs no Bicep compiler."""
