//! A line through a few points, as an SVG.

/// What is plotted.
pub struct Series {
    pub title: &'static str,
    /// What the axes are.
    pub x: &'static str,
    pub y: &'static str,
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 52.0;

/// The plot; both axes start at 0, so that growth looks as large as it is.
pub fn plot(series: &Series) -> String {
    let most = |values: &mut dyn Iterator<Item = f64>| round_up(values.fold(0.0, f64::max));
    let most_x = most(&mut series.points.iter().map(|point| point.0));
    let most_y = most(&mut series.points.iter().map(|point| point.1));
    let at_x = |value: f64| LEFT + value / most_x * (WIDTH - LEFT - RIGHT);
    let at_y = |value: f64| HEIGHT - BOTTOM - value / most_y * (HEIGHT - TOP - BOTTOM);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">\n\
         <title>{0}</title>\n<style>text {{ font: 12px sans-serif; fill: #1f2328 }} .page {{ fill: #fff }} .grid {{ stroke: #d1d9e0 }} \
         .line {{ fill: none; stroke: #0969da; stroke-width: 2 }} .point {{ fill: #0969da }} @media (prefers-color-scheme: dark) \
         {{ text {{ fill: #e6edf3 }} .page {{ fill: #0d1117 }} .grid {{ stroke: #3d444d }} .line {{ stroke: #58a6ff }} .point {{ fill: #58a6ff }} }}</style>\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n<text x=\"{LEFT}\" y=\"24\" style=\"font-weight: bold\">{0}</text>\n",
        series.title
    );
    for tenth in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let (x, y) = (at_x(tenth * most_x), at_y(tenth * most_y));
        let (base, end) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        out.push_str(&format!(
            "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{end}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
            LEFT - 8.0,
            y + 4.0,
            tenth * most_y,
            base + 18.0,
            tenth * most_x
        ));
    }
    let points: Vec<_> = series.points.iter().map(|&(x, y)| format!("{:.1},{:.1}", at_x(x), at_y(y))).collect();
    out.push_str(&format!("<polyline class=\"line\" points=\"{}\"/>\n", points.join(" ")));
    for &(x, y) in &series.points {
        let (px, py) = (at_x(x), at_y(y));
        out.push_str(&format!("<circle class=\"point\" cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"3.5\"/><text x=\"{px:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{y:.0}</text>\n", py - 8.0));
    }
    let middle = (LEFT + WIDTH - RIGHT) / 2.0;
    out.push_str(&format!("<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", HEIGHT - 12.0, series.x));
    out.push_str(&format!("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n</svg>\n", LEFT - 8.0, TOP - 12.0, series.y));
    out
}

/// The next number of the form 1, 2, 4 or 8 times a power of ten, so that quarters of it are short.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 8.0, 10.0].into_iter().map(|step| step * power).find(|&step| step >= value).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!([0.0, 3.76, 30.0, 81.0, 100.0, 512.0].map(round_up), [1.0, 4.0, 40.0, 100.0, 100.0, 800.0]);
    }

    #[test]
    fn every_point_is_drawn_and_labelled() {
        let picture = plot(&Series { title: "t", x: "x", y: "y", points: vec![(1.0, 10.0), (4.0, 40.0)] });
        assert_eq!(picture.matches("<circle").count(), 2);
        assert!(picture.contains(">10</text>") && picture.contains(">40</text>") && picture.contains("616.0,48.0"), "{picture}");
    }
}
