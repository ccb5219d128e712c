"""The site: every table, cell and scene as static pages that work from disk, without a server or a network.

`build` puts it together from `contents`; each other module writes the pages it is named after, from the templates in
``templates/site``.
"""

from harness.report.site.build import SiteSummary, build_site
from harness.report.site.pages import cell_page, environment, one_protocol_page, table_page

__all__ = ["SiteSummary", "build_site", "cell_page", "environment", "one_protocol_page", "table_page"]
