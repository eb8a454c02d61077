"""The browser that looks at pages."""

from browser import complaints, dump_dom, open_page, tab  # noqa: F401
