/** The report's style sheet: light and dark by the reader's system, and fit for paper. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --page: #ffffff; --ink: #1b1f24; --ink-soft: #59636e; --rule: #e4e7eb; --rule-strong: #b8bfc8; --panel: #f6f7f9; --mark: #0a5fb4; --before: #b9c2cd;
  --series-1: #0a66c2; --series-2: #d1570b; --series-3: #2a8a4a; --series-4: #8b4bb8; --series-5: #b8860b; --series-6: #c2356b; --series-7: #16858f; --series-8: #6b6f76;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #14171b; --ink: #e6e9ed; --ink-soft: #9ba5b1; --rule: #2b3138; --rule-strong: #515a65; --panel: #1c2026; --mark: #7db8f5; --before: #56616d;
    --series-1: #5aa7f0; --series-2: #f2914f; --series-3: #5fc084; --series-4: #bd8be0; --series-5: #dcb244; --series-6: #ee7ba5; --series-7: #4fbfc9; --series-8: #a4aab2;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0 0 .4rem; letter-spacing: -.01em; }
h2 { font-size: 1.2rem; margin: 3rem 0 .8rem; }
h3 { font-size: 1rem; margin: 1.8rem 0 .4rem; }
p { margin: .5rem 0; max-width: 46rem; }
.soft, figcaption { color: var(--ink-soft); font-size: .875rem; }
.summary { font-size: 1.06rem; margin: 1.4rem 0; padding: .2rem 0 .2rem 1rem; border-left: 3px solid var(--mark); }
.notes { background: var(--panel); border-radius: 6px; padding: .7rem 1rem .7rem 2rem; margin: 1.2rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; min-width: 100%; }
th, td { padding: .38rem .75rem; text-align: left; vertical-align: baseline; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { font-weight: 500; color: var(--ink-soft); }
thead th { vertical-align: bottom; border-bottom: 1px solid var(--rule-strong); }
thead tr:not(:last-child) th { border-bottom: 0; padding-bottom: 0; }
th.group { border-bottom: 1px solid var(--rule) !important; text-align: center; padding-bottom: .2rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
td.best { font-weight: 650; color: var(--mark); }
tbody + tbody tr:first-child td { border-top: 1px solid var(--rule-strong); }
.facts { width: auto; min-width: 0; }
.facts td { white-space: normal; overflow-wrap: anywhere; }
.facts td:first-child { color: var(--ink-soft); white-space: nowrap; padding-left: 0; }
figure { margin: 1rem 0 1.6rem; overflow-x: auto; }
figure svg { display: block; width: 100%; min-width: 36rem; max-width: max-content; height: auto; }
figcaption { margin-top: .3rem; max-width: 46rem; }
details summary { cursor: pointer; color: var(--mark); }
footer { margin-top: 3.5rem; padding-top: 1rem; border-top: 1px solid var(--rule); }
@page { margin: 18mm 15mm; }
@media print {
  :root { --page: #fff; --ink: #000; --ink-soft: #444; }
  body { font-size: 10.5pt; } main { max-width: none; padding: 0; }
  h2, h3 { break-after: avoid; } figure, tr { break-inside: avoid; } figure svg { min-width: 0; }
  th, td { padding: .25rem .4rem; } .scroll, figure { overflow: visible; } table { font-size: .78rem; }
}
`
