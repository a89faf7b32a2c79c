//! Goodput over loss and p99.9 over loss, side by side, as SVG.

use std::fmt::Write as _;

use crate::model::cell::{LOSSES, Load};
use crate::model::measure::{Figures, median};

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 280.0;
/// Room for the labels of an axis.
const MARGIN: f64 = 44.0;
/// The link that is drawn.
const RATE: u64 = 125_000;
const LATENCY_MS: u64 = 20;

/// One half of the picture.
struct Plot {
    title: &'static str,
    load: Load,
    left: f64,
    /// Values at the bottom and at the top, and what is written at the axis.
    low: f64,
    high: f64,
    ticks: &'static [(f64, &'static str)],
    is_logarithmic: bool,
}

const PLOTS: [Plot; 2] = [
    Plot {
        title: "bulk: goodput, 1 = all that the link can carry",
        load: Load::Bulk,
        left: 0.0,
        low: 0.0,
        high: 1.0,
        ticks: &[(0.0, "0"), (0.25, ".25"), (0.5, ".5"), (0.75, ".75"), (1.0, "1")],
        is_logarithmic: false,
    },
    Plot {
        title: "calls: p99.9 in round trips (logarithmic)",
        load: Load::Rpc1,
        left: WIDTH,
        low: 1.0,
        high: 256.0,
        ticks: &[(1.0, "1"), (4.0, "4"), (16.0, "16"), (64.0, "64"), (256.0, "256")],
        is_logarithmic: true,
    },
];

/// Colours that can be told apart on white and on black, also by who sees no difference between red and green.
const COLOURS: [(&str, &str); 6] = [
    ("bowline", "#0072b2"),
    ("oracle", "#808080"),
    ("quinn", "#d55e00"),
    ("kcp", "#009e73"),
    ("tcp", "#cc79a7"),
    ("enet", "#b8860b"),
];

/// Draws what was measured on 125 kB/s with 20 ms; of several tunings, the best at each loss.
pub fn draw(figures: &[Figures]) -> String {
    let (width, height) = (2.0 * WIDTH, HEIGHT + 60.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\" fill=\"#808080\">\n"
    );
    for plot in &PLOTS {
        plot.draw_axes(&mut svg);
        for (family, colour) in COLOURS {
            plot.draw_line(&mut svg, figures, family, colour);
        }
    }
    for (index, (family, colour)) in COLOURS.iter().enumerate() {
        let (x, y) = (MARGIN + index as f64 * 130.0, HEIGHT + 46.0);
        let _ = writeln!(svg, "<path d=\"M{x} {y}h16\" stroke=\"{colour}\" stroke-width=\"3\"/>");
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\">{family}</text>", x + 20.0, y + 4.0);
    }
    svg.push_str("</svg>\n");
    svg
}

impl Plot {
    fn x(&self, loss_pct: u32) -> f64 {
        self.left + MARGIN + f64::from(loss_pct) / 30.0 * (WIDTH - 1.5 * MARGIN)
    }

    fn y(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.is_logarithmic { value.ln() } else { value };
        let part = (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low));
        HEIGHT - part.clamp(0.0, 1.0) * (HEIGHT - MARGIN)
    }

    fn draw_axes(&self, svg: &mut String) {
        let (left, right) = (self.x(0), self.x(30));
        let _ = writeln!(svg, "<text x=\"{left}\" y=\"24\">{}</text>", self.title);
        for (value, label) in self.ticks {
            let y = self.y(*value);
            let _ = writeln!(svg, "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#808080\" stroke-opacity=\".3\"/>");
            let _ = writeln!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", left - 6.0, y + 4.0);
        }
        // There is no room for 1 %.
        for loss in [0, 5, 10, 20, 30] {
            let (x, y) = (self.x(loss), HEIGHT + 18.0);
            let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{loss} %</text>");
        }
    }

    fn draw_line(&self, svg: &mut String, figures: &[Figures], family: &str, colour: &str) {
        let mut path = String::new();
        for loss in LOSSES {
            if let Some(value) = self.best(figures, family, loss) {
                let command = if path.is_empty() { 'M' } else { 'L' };
                let _ = write!(path, "{command}{:.1} {:.1}", self.x(loss), self.y(value));
            }
        }
        let style = if family == "bowline" { "3" } else { "1.5" };
        let _ = writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{style}\"/>");
    }

    /// The best median of a family's tunings.
    fn best(&self, figures: &[Figures], family: &str, loss_pct: u32) -> Option<f64> {
        let is_drawn = |figure: &&Figures| {
            let cell = figure.cell;
            (cell.load, cell.rate, cell.latency_ms, cell.loss_pct) == (self.load, RATE, LATENCY_MS, loss_pct)
                && cell.fault.name() == "plain"
                && figure.protocol.starts_with(family)
        };
        let drawn: Vec<&Figures> = figures.iter().filter(is_drawn).collect();
        let mut protocols: Vec<&str> = drawn.iter().map(|figure| figure.protocol.as_str()).collect();
        protocols.dedup();
        let medians = protocols.into_iter().map(|protocol| {
            let of_protocol = drawn.iter().filter(|figure| figure.protocol == protocol);
            median(&of_protocol.filter_map(|figure| figure.goodput.or(figure.p999)).collect::<Vec<f64>>()).0
        });
        let sign = if self.load == Load::Bulk { 1.0 } else { -1.0 };
        medians.max_by(|one, other| (sign * one).total_cmp(&(sign * other)))
    }
}
