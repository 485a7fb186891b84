//! What colours and strokes the picture has.

/// The style sheet. Colours are written out twice, since not every program that shows SVG knows variables.
pub const STYLE: &str = "\
text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace; fill: #1f2328; white-space: pre }
.title { font-size: 16px; font-weight: bold }
.name, .op { font-weight: bold }
.label { font-size: 11px; paint-order: stroke; stroke: #ffffff; stroke-width: 4px; stroke-linejoin: round }
.dim { fill: #59636e }
.fault { fill: #cf222e; font-weight: bold }
.source { fill: #0550ae; font-style: italic }
.argument { fill: #953800 }
.inputs { fill: #7d4e00 }
.page { fill: #ffffff }
.box { fill: #f6f8fa }
.band { fill: #e4e9ee }
.line { fill: #e7f2fd }
.frame { fill: none; stroke: #59636e; stroke-width: 1.5 }
.handler { stroke: #8250df; stroke-dasharray: 6 3 }
.unreachable { stroke-dasharray: 1.5 3 }
.bar { fill: #59636e }
.hatch { stroke: #59636e; stroke-width: 1; opacity: 0.35 }
.edge path { fill: none; stroke: #59636e; stroke-width: 1.5; stroke-linejoin: round }
.edge .head { stroke: none; fill: #59636e }
.edge .label { fill: #59636e }
.true path { stroke: #1a7f37 } .true .head, .true .label { fill: #1a7f37 }
.false path { stroke: #cf222e } .false .head, .false .label { fill: #cf222e }
.jump path { stroke: #0969da } .jump .head, .jump .label { fill: #0969da }
.exc path { stroke: #8250df; stroke-dasharray: 5 3 } .exc .label { fill: #8250df }
.exc .head { fill: none; stroke: #8250df; stroke-width: 1.5; stroke-dasharray: none }
.edge.back path { stroke-width: 3 } .edge.back .head { stroke-width: 1.5 }
.edge:hover path { stroke-width: 4 }
.use { fill: none; stroke: #9a6700; stroke-width: 1 }
.use.variable { stroke-dasharray: 2 2 }
.tip { fill: #9a6700 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.label { stroke: #0d1117 }
.dim { fill: #9198a1 }
.fault { fill: #ff7b72 }
.source { fill: #79c0ff }
.argument { fill: #ffa657 }
.inputs { fill: #e3b341 }
.page { fill: #0d1117 }
.box { fill: #151b23 }
.band { fill: #262c36 }
.line { fill: #16243a }
.frame { stroke: #9198a1 }
.handler { stroke: #d2a8ff }
.bar { fill: #9198a1 }
.hatch { stroke: #9198a1 }
.edge path { stroke: #9198a1 }
.edge .head, .edge .label { fill: #9198a1 }
.true path { stroke: #3fb950 } .true .head, .true .label { fill: #3fb950 }
.false path { stroke: #ff7b72 } .false .head, .false .label { fill: #ff7b72 }
.jump path { stroke: #58a6ff } .jump .head, .jump .label { fill: #58a6ff }
.exc path { stroke: #d2a8ff } .exc .label { fill: #d2a8ff }
.exc .head { fill: none; stroke: #d2a8ff }
.use { stroke: #d29922 }
.tip { fill: #d29922 }
}
";

/// What unreachable blocks are hatched with.
pub const HATCHING: &str = "<defs><pattern id=\"hatch\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\" \
patternTransform=\"rotate(45)\"><line class=\"hatch\" y2=\"8\"/></pattern></defs>\n";
