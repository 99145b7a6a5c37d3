/** A page that needs nothing else: its style is in it, and its charts are SVG. */
import { HEAT_STYLE } from './heat_map.js'
import { CHART_STYLE, escaped } from './svg.js'

const STYLE = `
${CHART_STYLE}
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem; font: 15px/1.45 system-ui, sans-serif; \
color: var(--ink); background: var(--back) }
h1 { font-size: 1.5rem } h2 { font-size: 1.2rem; margin-top: 2.2rem } h3 { font-size: 1rem; margin: 1.4rem 0 .4rem }
p, figcaption, .soft { color: var(--soft) } figure { margin: 0 } figcaption { font-size: 12px }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: 14px }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem; text-align: left; \
vertical-align: top; white-space: nowrap }
td { font-variant-numeric: tabular-nums } .settings td { white-space: normal; overflow-wrap: anywhere }
.row { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start } \
.legend span { margin-right: 1.2rem; white-space: nowrap }
.legend i { display: inline-block; width: 1.4em; height: .25em; margin-right: .4em; \
vertical-align: middle; background: var(--c) }
svg { max-width: 100%; height: auto }${HEAT_STYLE}
`

export function page(title: string, parts: readonly string[]): string {
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>${escaped(title)}</title>
<style>${STYLE}</style>
</head>
<body>
${parts.join('\n')}
</body>
</html>
`
}
