// Overwritten by the page.
