/** The pages' one stylesheet: paper and ink, or the other way round where the reader's system is dark. */
export const style = `
:root {
  color-scheme: light dark;
  --paper: #fbfaf7; --sheet: #ffffff; --ink: #22201c; --soft: #645f55; --line: #e4e0d6; --wash: #f3f0e8;
  --accent: #8a4513; --accent-wash: #f6ebdf; --good: #1f6b3a; --bad: #a32a20;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", "JetBrains Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace;
  --sans: system-ui, -apple-system, "Segoe UI", "Inter", "Noto Sans", "DejaVu Sans", sans-serif;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #171613; --sheet: #1e1d19; --ink: #ebe7dd; --soft: #a8a192; --line: #35322b; --wash: #26241f;
    --accent: #e8a667; --accent-wash: #3a2b1c; --good: #7fc795; --bad: #f09086;
  }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 4.5rem; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.55 var(--sans); text-rendering: optimizeLegibility; }
a { color: var(--accent); text-decoration-thickness: 1px; text-underline-offset: .18em; }
a:not(:hover) { text-decoration-color: color-mix(in srgb, currentColor 35%, transparent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 3px; }
code, kbd, pre, .mono { font-family: var(--mono); font-size: .87em; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: .5rem; background: var(--sheet); padding: .5rem 1rem; z-index: 9; }

.top { border-bottom: 1px solid var(--line); background: var(--sheet); position: sticky; top: 0; z-index: 2; }
.top > div { max-width: 66rem; margin: 0 auto; padding: .55rem 1.5rem; display: flex; gap: 1.25rem; align-items: center; }
.brand { display: flex; align-items: center; gap: .5rem; font-weight: 650; color: var(--ink); text-decoration: none; letter-spacing: -.01em; }
.brand svg { width: 1.35rem; height: 1.35rem; color: var(--accent); }
.top search { flex: 1; max-width: 26rem; position: relative; }
.top nav { margin-left: auto; display: flex; gap: 1rem; align-items: baseline; white-space: nowrap; }
.top nav form { display: inline; }
input, textarea, select { font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--line); border-radius: 7px; padding: .4rem .65rem; width: 100%; }
input::placeholder { color: var(--soft); opacity: 1; }
input[type=checkbox] { width: auto; accent-color: var(--accent); }
.top .hint { position: absolute; right: .5rem; top: 50%; transform: translateY(-50%); pointer-events: none; }
.top input:focus ~ .hint { display: none; }
kbd, .hint { font-family: var(--mono); border: 1px solid var(--line); border-bottom-width: 2px; border-radius: 4px; padding: 0 .35rem; color: var(--soft); background: var(--wash); font-size: .78em; }
button { font: inherit; font-weight: 550; border: 1px solid var(--accent); background: var(--accent); color: var(--sheet); border-radius: 7px; padding: .4rem .9rem; cursor: pointer; }
button.plain { background: none; border: 0; color: var(--accent); padding: 0; font-weight: 400; text-decoration: underline; text-underline-offset: .18em; text-decoration-thickness: 1px; text-decoration-color: color-mix(in srgb, currentColor 35%, transparent); }
button.plain.danger { color: var(--bad); }

main { max-width: 66rem; margin: 0 auto; padding: 1.75rem 1.5rem 4rem; }
.crumbs { margin: 0 0 .35rem; color: var(--soft); font-size: .9rem; display: flex; gap: .45rem; flex-wrap: wrap; }
.crumbs span[aria-hidden] { opacity: .55; }
h1 { font-size: 1.75rem; line-height: 1.25; letter-spacing: -.02em; margin: 0 0 .25rem; font-weight: 680; overflow-wrap: anywhere; }
h2 { font-size: 1.12rem; letter-spacing: -.01em; margin: 2.4rem 0 .7rem; font-weight: 640; display: flex; gap: .6rem; align-items: baseline; }
h2 small, h1 small { font-size: .85rem; color: var(--soft); font-weight: 400; letter-spacing: 0; }
h3 { font-size: .95rem; margin: 1.2rem 0 .3rem; }
.lead { color: var(--soft); margin: 0 0 1rem; max-width: 46rem; }
.soft { color: var(--soft); }
.none { color: var(--soft); padding: 1.6rem; border: 1px dashed var(--line); border-radius: 10px; text-align: center; }
.tabs { display: flex; gap: 1.4rem; border-bottom: 1px solid var(--line); margin: 1.1rem 0 1.6rem; overflow-x: auto; }
.tabs a { padding: .45rem 0; color: var(--soft); text-decoration: none; border-bottom: 2px solid transparent; margin-bottom: -1px; white-space: nowrap; }
.tabs a:hover { color: var(--ink); }
.tabs a[aria-current] { color: var(--ink); border-color: var(--accent); font-weight: 550; }
.badge { font-size: .74rem; font-weight: 550; border: 1px solid var(--line); border-radius: 99px; padding: .05rem .55rem; color: var(--soft); background: var(--wash); vertical-align: middle; white-space: nowrap; letter-spacing: 0; }
.badge.good { color: var(--good); border-color: color-mix(in srgb, var(--good) 35%, transparent); background: none; }
.badge.bad { color: var(--bad); border-color: color-mix(in srgb, var(--bad) 35%, transparent); background: none; }

.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: 1px; background: var(--line); border: 1px solid var(--line); border-radius: 10px; overflow: hidden; margin: 1.2rem 0; }
.figures div { background: var(--sheet); padding: .75rem 1rem; display: flex; flex-direction: column-reverse; }
.figures dt { color: var(--soft); font-size: .82rem; }
.figures dd { margin: 0; font-size: 1.28rem; font-weight: 620; letter-spacing: -.015em; font-variant-numeric: tabular-nums; }
.figures dd a { text-decoration: none; }

.table { overflow-x: auto; border: 1px solid var(--line); border-radius: 10px; background: var(--sheet); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: .8rem; padding: .5rem .9rem; border-bottom: 1px solid var(--line); background: var(--wash); white-space: nowrap; }
td { padding: .42rem .9rem; border-bottom: 1px solid color-mix(in srgb, var(--line) 60%, transparent); vertical-align: baseline; }
tr:last-child td { border-bottom: 0; }
tbody tr:hover { background: color-mix(in srgb, var(--wash) 55%, transparent); }
tr.at { background: var(--accent-wash) !important; box-shadow: inset 3px 0 var(--accent); }
.number { text-align: right; white-space: nowrap; }
td.number, td.when { color: var(--soft); white-space: nowrap; }
td .mono { color: var(--soft); }
td a { text-decoration: none; }
td a:hover { text-decoration: underline; }
td .name { font-weight: 520; }
.wide { width: 99%; overflow-wrap: anywhere; min-width: 12rem; }
.bar { display: block; width: 7rem; height: .5rem; }
.bar rect { fill: var(--wash); }
.bar rect + rect { fill: var(--accent); }

.facts { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.5rem; margin: 1rem 0; }
.facts dt { color: var(--soft); }
.facts dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
.facts ul { list-style: none; margin: 0; padding: 0; }
.columns { display: grid; grid-template-columns: 1fr 1fr; gap: 0 2rem; }
.columns > section { min-width: 0; }
.list { list-style: none; margin: 0; padding: 0; border: 1px solid var(--line); border-radius: 10px; background: var(--sheet); max-height: 24rem; overflow: auto; }
.list li { padding: .34rem .9rem; border-bottom: 1px solid color-mix(in srgb, var(--line) 60%, transparent); display: flex; gap: 1rem; justify-content: space-between; }
.list li:last-child { border: 0; }
.list a { text-decoration: none; overflow-wrap: anywhere; }
.list span { color: var(--soft); white-space: nowrap; font-variant-numeric: tabular-nums; }

.copy { position: relative; margin: .4rem 0 1rem; }
pre { background: var(--sheet); border: 1px solid var(--line); border-radius: 9px; padding: .75rem 1rem; overflow-x: auto; margin: 0; line-height: 1.6; tab-size: 2; }
.copy button { position: absolute; top: .45rem; right: .45rem; font-size: .78rem; padding: .12rem .6rem; background: var(--wash); color: var(--soft); border-color: var(--line); }
.copy button:hover { color: var(--ink); }
.way { border: 1px solid var(--line); border-radius: 10px; background: var(--sheet); margin: .5rem 0; }
.way summary { padding: .55rem 1rem; cursor: pointer; font-weight: 550; }
.way > div { padding: 0 1rem .4rem; }
.way pre { background: var(--paper); }
.log { max-height: none; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .8rem; }

.treemap { width: 100%; height: auto; display: block; border-radius: 10px; overflow: hidden; }
.treemap rect { stroke: var(--paper); stroke-width: 1.5; }
.treemap a:hover rect { opacity: .82; }
.treemap a:focus-visible rect { stroke: var(--ink); stroke-width: 3; }
.treemap text { font: 550 12.5px var(--sans); pointer-events: none; fill: #1d1409; }
.treemap .size { font-weight: 400; font-size: 11.5px; opacity: .8; }
.hue0 { fill: #e9a15b; } .hue1 { fill: #edb87f; } .hue2 { fill: #d9c08a; } .hue3 { fill: #b9c49a; } .hue4 { fill: #9dc3b2; }
.hue5 { fill: #a3bfd0; } .hue6 { fill: #bdb5d3; } .hue7 { fill: #d8b0c2; } .rest { fill: #cfc9bd; }
.chart { width: 100%; height: auto; display: block; overflow: visible; }
.chart rect { fill: var(--accent); }
.chart rect.second { fill: color-mix(in srgb, var(--accent) 32%, var(--paper)); }
.chart rect.hit { fill: transparent; }
.chart g:hover rect.hit { fill: color-mix(in srgb, var(--accent) 9%, transparent); }
.chart line { stroke: var(--line); }
.chart text { font: 11px var(--sans); fill: var(--soft); }
.key { display: flex; gap: 1.2rem; margin: 0 0 .4rem; color: var(--soft); font-size: .85rem; }
.key span { display: inline-flex; align-items: center; gap: .4rem; }
.key .chart { width: .7rem; height: .7rem; }

.form { display: grid; gap: .9rem; max-width: 30rem; background: var(--sheet); border: 1px solid var(--line); border-radius: 12px; padding: 1.3rem 1.4rem; }
.form label { display: grid; gap: .25rem; font-weight: 520; }
.form label small { font-weight: 400; color: var(--soft); }
.form fieldset { border: 0; padding: 0; margin: 0; display: flex; gap: 1rem; flex-wrap: wrap; }
.form fieldset label { display: flex; gap: .35rem; font-weight: 400; align-items: center; }
.form legend { font-weight: 520; padding: 0; margin-bottom: .25rem; }
.form button { justify-self: start; }
.say { border-left: 3px solid var(--accent); background: var(--accent-wash); padding: .7rem 1rem; border-radius: 0 8px 8px 0; margin: 1rem 0; }
.say.bad { border-color: var(--bad); background: color-mix(in srgb, var(--bad) 10%, transparent); }
dialog { border: 1px solid var(--line); border-radius: 14px; background: var(--sheet); color: var(--ink); padding: 1.3rem 1.6rem; min-width: 20rem; box-shadow: 0 18px 60px rgb(0 0 0 / .3); }
dialog::backdrop { background: rgb(0 0 0 / .35); }
dialog h2 { margin-top: 0; }
dialog dl { display: grid; grid-template-columns: max-content 1fr; gap: .45rem 1rem; margin: 0; }
dialog dd { margin: 0; }
footer { max-width: 66rem; margin: 0 auto; padding: 0 1.5rem 2.5rem; color: var(--soft); font-size: .85rem; display: flex; gap: 1.2rem; }
footer a { color: inherit; }
@media (max-width: 44rem) {
  .columns { grid-template-columns: 1fr; }
  .top > div { flex-wrap: wrap; gap: .6rem 1rem; }
  .top search { order: 3; flex-basis: 100%; max-width: none; }
  .facts { grid-template-columns: 1fr; gap: 0; }
  .facts dd { margin-bottom: .6rem; }
  td .mono { display: none; }
  .wide { min-width: 9rem; }
  footer .keys { display: none; }
}
@media (prefers-reduced-motion: no-preference) { a, button, tbody tr { transition: background-color .12s, color .12s; } }
@media print { .top, footer, .copy button { display: none; } }
`;
