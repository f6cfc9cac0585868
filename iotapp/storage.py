"""Where collected static files go: under a name with the hash of their content, and compressed."""

from whitenoise.storage import (
    CompressedManifestStaticFilesStorage,
)


class StaticFilesStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Also rewrites the imports between scripts to the hashed names.

    A script that is cached for good would else import one that a newer release has changed.
    """

    support_js_module_import_aggregation = True
    # A pass settles at least one step of the longest chain of imports; Django's 5 are too few.
    max_post_process_passes = 20
