"""The parts of docs/performance.md, docs/roofline.md and the README's table, a module a chapter."""
