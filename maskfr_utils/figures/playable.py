"""Figures that answer to the pointer, without a kernel: in JupyterLab and in the built book."""

import io
import math
from html import escape

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from maskfr_utils.figures.style import closed
from maskfr_utils.losses import ArcFace


class Html(str):
    """HTML that a notebook shows."""

    def _repr_html_(self) -> str:
        return str(self)


def pointed(fig: Figure) -> Html:
    """A figure as SVG within the page, whose lines say their names under the pointer.

    Args:
        fig: with labelled lines or error bars.
    """
    names: list[str] = []
    for ax in fig.axes:
        labelled = [(line.get_label(), line) for line in ax.lines]
        labelled += [(bars.get_label(), bars.lines[0]) for bars in ax.containers if hasattr(bars, "has_xerr")]
        for name, line in labelled:
            if not name.startswith("_") and line is not None:
                line.set_gid(f"run-{len(names)}")
                names.append(name)
    text = io.StringIO()
    with plt.rc_context({"svg.hashsalt": "pointed"}):
        fig.savefig(text, format="svg", metadata={"Date": None}, bbox_inches="tight")
    closed(fig)
    svg = text.getvalue()[text.getvalue().index("<svg") :]
    for i, name in enumerate(names):
        svg = svg.replace(f'<g id="run-{i}">', f'<g class="run"><title>{escape(name)}</title>')
    return Html(f'<div class="pointed">{svg}</div>')


SLIDER = """<div class="playable" id="play-arcface">
<label><i>s</i> <input type="range" name="s" min="1" max="80" step="1" value="{s:g}"> <output>{s:g}</output></label>
<label>margin <i>m</i> <input type="range" name="m" min="0" max="1" step="0.05" value="{m:g}"> <output>{m:g}</output></label>
<svg viewBox="0 0 480 250" role="img" aria-label="Probability of the own identity over the angle, with the margin and without">
<g stroke="currentColor" fill="none"><path d="M50 10V210H470"/></g>
<g fill="currentColor" font-size="12" text-anchor="middle">{ticks}
<text x="260" y="246">angle to the own identity, degrees</text>
<text x="42" y="214" text-anchor="end">0</text><text x="42" y="114" text-anchor="end">0.5</text>
<text x="42" y="15" text-anchor="end">1</text></g>
<path class="plain" d="{plain}"/><path class="margin" d="{margin}"/>
</svg>
<p>Probability of the own identity among {n:,}, all others at 90°: <b class="margin">scored with the margin</b>,
<b class="plain">without it</b>. <span class="said">{said}</span></p>
<script>(() => {{
  const box = document.getElementById("play-arcface"), [s, m] = box.querySelectorAll("input");
  const z = (t, m) => t + m <= Math.PI ? Math.cos(t + m) : Math.cos(t) - m * Math.sin(m);
  const p = (t, m) => 1 / (1 + Math.exp({rest:.6f} - s.value * z(t, m)));
  const line = m => Array.from({{length: 91}}, (_, d) =>
    (d ? "L" : "M") + (50 + d * 420 / 90).toFixed(1) + " " + (210 - 200 * p(d * Math.PI / 180, m)).toFixed(1)).join("");
  const draw = () => {{
    box.querySelectorAll("input").forEach(input => input.nextElementSibling.value = input.value);
    box.querySelector("path.plain").setAttribute("d", line(0));
    box.querySelector("path.margin").setAttribute("d", line(+m.value));
    const at = x => (100 * p(60 * Math.PI / 180, x)).toPrecision(3) + "%";
    box.querySelector(".said").textContent = "At 60°: " + at(+m.value) + " with the margin, " + at(0) + " without.";
  }};
  s.oninput = m.oninput = draw;
  draw();
}})();</script></div>"""


def arcface(scale: float, margin: float) -> Html:
    """What s and m do to the probability of the own identity among 1,000, all others at 90 degrees, with a slider for each.

    Args:
        scale: s to begin with.
        margin: m in radians to begin with.
    """
    identities = 1000
    angles = torch.linspace(0, math.pi / 2, 91, dtype=torch.float64)
    rest = math.log(identities - 1)

    def line(m: float) -> str:
        z = scale * ArcFace(2, 2, scale, m).with_margin(angles.cos()[:, None])[:, 0]
        shares = torch.sigmoid(z - rest).tolist()
        points = (f"{50 + i * 420 / 90:.1f} {210 - 200 * share:.1f}" for i, share in enumerate(shares))
        return "M" + "L".join(points)

    ticks = "".join(f'<text x="{50 + d * 420 / 90:.0f}" y="226">{d}</text>' for d in range(0, 91, 15))
    values = {"s": scale, "m": margin, "n": identities, "rest": rest, "ticks": ticks, "said": ""}
    return Html(SLIDER.format(plain=line(0.0), margin=line(margin), **values))
