"""The style sheet of reports: light and dark by the reader's own setting, one column on a phone, plain on paper."""

STYLE = """
:root { --text: #1f2328; --faint: #59636e; --line: #d1d9e0; --ground: #ffffff; --raised: #f6f8fa; --link: #0550ae; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --faint: #9aa4b0; --line: #3d444d; --ground: #0d1117; --raised: #161b22; --link: #79b8ff; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); font: 1rem/1.55 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0.8rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 0.8rem; border-bottom: 1px solid var(--line); padding-bottom: 0.3rem; }
p { max-width: 45rem; overflow-wrap: anywhere; }
.lead { font-size: 1.15rem; }
a { color: var(--link); }
nav ul { display: flex; flex-wrap: wrap; gap: 0.3rem 1.2rem; list-style: none; padding: 0; margin: 1rem 0; }
pre { background: var(--raised); border: 1px solid var(--line); border-radius: 6px; padding: 0.8rem; overflow-x: auto;
  font: 0.85rem/1.45 ui-monospace, monospace; }
pre.wrapped { white-space: pre-wrap; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: 0.92rem; }
caption { text-align: left; color: var(--faint); padding: 0.3rem 0; }
th, td { text-align: left; padding: 0.3rem 0.9rem 0.3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td { max-width: 32rem; }
td.long { overflow-wrap: anywhere; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: 1.5rem 0; }
img { max-width: 100%; height: auto; background: #ffffff; border-radius: 6px; }
figcaption { color: var(--faint); font-size: 0.92rem; max-width: 45rem; }
details { border: 1px solid var(--line); border-radius: 6px; padding: 0.5rem 0.8rem; margin: 1rem 0; }
summary { cursor: pointer; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
@media print {
  :root { --text: #000000; --faint: #444444; --line: #bbbbbb; --ground: #ffffff; --raised: #ffffff; --link: #000000; }
  main { max-width: none; padding: 0; }
  nav { display: none; }
  figure, tr, .lead { break-inside: avoid; }
  h2 { break-after: avoid; }
  pre { white-space: pre-wrap; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
"""
