"""What every command does first, done once in the process that commands are forked from."""

from PIL import Image

import sslbench.methods.semi_module
import sslbench.report
import sslbench.tables.assemble  # noqa: F401
from sslbench.cell.versions import code_digest, versions
from sslbench.config.as_json import settings_to_json
from sslbench.config.compose import compose_settings
from sslbench.config.parts import Sizes

Image.init()
versions()
for method in ("supervised", "barlow", "semi"):
    settings = compose_settings([f"method={method}", "data=digits", "model.channels=8"])
    settings.method.build(settings.model.build(), Sizes(10, 20, 20, 20))
    code_digest(settings_to_json(settings))
