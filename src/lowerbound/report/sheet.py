"""The style sheet of a report: light or dark according to the reader's system, and plain on paper."""

__all__ = ["STYLE_SHEET"]

STYLE_SHEET = """
:root { color-scheme: light dark; --ink: #1f2328; --muted: #59636e; --page: #f6f7f9; --card: #ffffff;
  --line: #dde1e6; --accent: #0072b2; --good: #00704f; --bad: #b34700; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --muted: #a5adb7; --page: #14171b;
  --card: #1e2228; --line: #363c45; --accent: #6cb8e8; --good: #4cc9a0; --bad: #f09a60; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1000px; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .35rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .6rem; padding-top: .9rem; border-top: 1px solid var(--line); }
p { margin: .4rem 0 .8rem; max-width: 46rem; }
.quiet { color: var(--muted); }
pre { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .7rem
  .9rem; font-size: .85rem; margin: .8rem 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr));
  gap: .8rem; margin: 1.4rem 0; padding: 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem; }
.tile dt { color: var(--muted); font-size: .85rem; }
.tile dd { margin: 0; font-size: .85rem; color: var(--muted); }
.tile dd.value { font-size: 1.7rem; line-height: 1.3; font-weight: 650; color: var(--ink);
  font-variant-numeric: tabular-nums; }
.tile dd.good { color: var(--good); } .tile dd.bad { color: var(--bad); }
.wide { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .5rem .9rem; border-bottom: 1px solid var(--line); }
tr:last-child > * { border-bottom: 0; }
thead th { font-size: .82rem; color: var(--muted); font-weight: 600; }
tbody th { font-weight: 600; min-width: 9rem; }
td.number, th.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.meaning { color: var(--muted); min-width: 16rem; }
table.settings th { font-weight: 500; width: 34%; overflow-wrap: anywhere; }
table.settings td { overflow-wrap: anywhere; }
code, table.settings td { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .85rem; }
figure { margin: .6rem 0 0; break-inside: avoid; }
.card { background: #ffffff; border: 1px solid var(--line); border-radius: 8px; padding: .7rem; overflow-x: auto; }
.card img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
figcaption { margin: .6rem 0 0; font-size: .92rem; color: var(--muted); max-width: 52rem; }
@media screen and (max-width: 640px) { main { padding: 1.25rem .8rem 3rem; }
  .scores thead { display: none; } .scores tr { display: grid; grid-template-columns: 1fr auto auto;
  border-bottom: 1px solid var(--line); } .scores tr > * { border-bottom: 0; } .scores td.meaning { grid-column: 1 / -1;
  padding-top: 0; } .card img.dense { max-width: none; width: 720px; } }
@media print { body { background: #ffffff; font-size: 10.5pt; } main { max-width: none; padding: 0; }
  h2 { break-after: avoid; } tr, .tile { break-inside: avoid; } .wide, .card { overflow: visible; } }
"""
