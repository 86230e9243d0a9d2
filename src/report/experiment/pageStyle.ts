/** What the experiment's page adds to the report's style. Which cost is shown is decided by two radio buttons, without a script. */
export const PAGE_STYLE = `
:root { --step-1: #a9cdf1; --step-2: #5c9fdd; --step-3: #1f6fb8; --step-4: #0b3d70; --paper-1: #c9a24b; --paper-2: #96650a; --paper-3: #5e3f05; }
@media screen and (prefers-color-scheme: dark) { :root { --step-1: #dbeafa; --step-2: #9cc8f2; --step-3: #5aa7f0; --step-4: #2f74b8; --paper-1: #f0dcae; --paper-2: #e0b354; --paper-3: #a87c1c; } }
main { max-width: 66rem; }
.choose { position: absolute; opacity: 0; }
.bar { position: sticky; top: 0; z-index: 2; background: var(--page); border-bottom: 1px solid var(--rule); }
.bar div { max-width: 66rem; margin: 0 auto; padding: .5rem 1.5rem; display: flex; gap: .5rem; align-items: center; font-size: .875rem; color: var(--ink-soft); }
.bar label { border: 1px solid var(--rule-strong); border-radius: 1rem; padding: .1rem .8rem; cursor: pointer; color: var(--ink); }
.bar nav { margin-left: auto; display: flex; gap: 1rem; } .bar a { color: var(--mark); text-decoration: none; }
#cost-hours:checked ~ .bar label[for=cost-hours], #cost-flops:checked ~ .bar label[for=cost-flops] { background: var(--mark); border-color: var(--mark); color: var(--page); }
#cost-hours:focus-visible ~ .bar label[for=cost-hours], #cost-flops:focus-visible ~ .bar label[for=cost-flops] { outline: 2px solid var(--ink); }
#cost-hours:checked ~ main .by-flops, #cost-flops:checked ~ main .by-hours { display: none; }
h2, h3 { scroll-margin-top: 3.2rem; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.3rem; padding: 0; margin: .3rem 0 .2rem; font-size: .875rem; }
.legend li { display: flex; align-items: center; gap: .4rem; } .swatch { flex: none; }
figure { margin-top: .4rem; }
td small { display: block; color: var(--ink-soft); font-size: .78rem; font-weight: 400; line-height: 1.2; }
th, td { padding: .3rem .6rem; }
.paper { color: var(--ink-soft); font-style: italic; }
.none { color: var(--ink-soft); }
.findings { list-style: none; padding: 0; margin: 1rem 0; }
.findings li { display: grid; grid-template-columns: 7.5rem 1fr; gap: .2rem 1rem; padding: .7rem 0; border-top: 1px solid var(--rule); }
.findings p { margin: .15rem 0; max-width: 52rem; } .findings .claim { font-weight: 600; }
.verdict { font-size: .8rem; font-weight: 600; text-align: center; border-radius: 1rem; padding: .1rem .5rem; align-self: start; margin-top: .15rem; border: 1px solid currentColor; }
.verdict.held { color: #1d7a3e; } .verdict.not { color: #b3261e; } .verdict.partly, .verdict.level { color: #96650a; } .verdict.open { color: var(--ink-soft); }
@media screen and (prefers-color-scheme: dark) { .verdict.held { color: #69cc8c; } .verdict.not { color: #f28b82; } .verdict.partly, .verdict.level { color: #e0b354; } }
details { margin: .6rem 0; } details > summary { font-size: .95rem; }
@media print { .bar { display: none; } }
`
