//! From a [`Plot`] to SVG.
//!
//! The drawing has two units a pixel of the page, for plotters places to whole units. Nothing is filled behind: the
//! page's own colour shows.

use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, Cross, EmptyElement, PathElement, Polygon, Text};
use plotters::prelude::Cartesian2d;
use plotters::series::{DashedLineSeries, LineSeries};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, IntoFont, ShapeStyle, TextStyle};

use super::axis::Placed;
use super::palette::{AXIS, Colour, GRID, IDEAL, INK, Look, Mark, look};
use super::{Plot, PlotError, Series, Style};

/// Width and height of the drawing, without the legend.
const SIZE: (u32, u32) = (1500, 800);

/// Height of one row of the legend.
const LEGEND_ROW: i32 = 44;

/// Length of the line before a name in the legend.
const LEGEND_LINE: i32 = 70;

/// Plotters divides it by 1.24: 24 units, 12 pixels.
const FONT_SIZE: f64 = 24.0 * 1.24;

/// About how wide a character is. There is no font to ask; it is chosen rather too large.
const CHARACTER: i32 = 14;

/// How far points of the same x are drawn apart, as a share of the width.
const APART: f64 = 0.006;

/// How far from the ends of the axis points with marks stay: room for several beside each other.
const INSET: f64 = 0.03;

/// Half the size of a mark.
const MARK: i32 = 9;

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Placed, Placed>>;
type Outcome = Result<(), DrawingAreaErrorKind<std::io::Error>>;

impl Plot {
    /// The drawing, or `None` if there is no point in it.
    ///
    /// # Errors
    /// When plotters cannot draw, which writing into memory gives no cause for.
    pub fn svg(&self) -> Result<Option<String>, PlotError> {
        if self.series.iter().all(|series| series.style == Style::Ideal || series.points.is_empty())
        {
            return Ok(None);
        }
        let entries = Entries::of(&self.series);
        let legend_height = entries.rows * LEGEND_ROW;
        let height = SIZE.1 + u32::try_from(legend_height).unwrap_or(0);
        let mut text = String::new();
        let drawn = (|| {
            let canvas = SVGBackend::with_string(&mut text, (SIZE.0, height)).into_drawing_area();
            let (legend, below) = canvas.split_vertically(legend_height);
            entries.draw(&legend)?;
            self.draw(&below)?;
            canvas.present()
        })();
        drawn.map_err(|error| PlotError { title: self.title.clone(), why: error.to_string() })?;
        // The size is the page's to choose, and the drawing has a name.
        let size = format!("width=\"{}\" height=\"{height}\"", SIZE.0);
        let named = format!("role=\"img\" aria-label=\"{}\"", escaped(&self.title));
        Ok(Some(text.replacen(&size, &named, 1)))
    }

    fn draw(&self, area: &Canvas<'_>) -> Outcome {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let mut x = self.x.place(points().map(|point| point.x));
        if self.series.iter().any(|series| series.style == Style::Marks) {
            x.inset = INSET;
        }
        let heights = points().flat_map(|point| {
            let (low, high) = point.interval.unwrap_or((point.y, point.y));
            [point.y, low, high]
        });
        let y = self.y.place(heights);
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(50)
            .x_label_area_size(96)
            .y_label_area_size(150)
            .build_cartesian_2d(x.clone(), y.clone())?;
        chart
            .configure_mesh()
            .axis_style(AXIS.rgb().stroke_width(2))
            .bold_line_style(GRID.rgb().stroke_width(2))
            .label_style(font(INK))
            .x_desc(self.x.title())
            .y_desc(self.y.title())
            .axis_desc_style(font(INK))
            .draw()?;
        let measured = self.series.iter().filter(|series| series.style != Style::Ideal).count();
        let mut number = 0;
        for series in &self.series {
            let (look, apart) = match series.style {
                Style::Ideal => (ideal_look(), 0.0),
                Style::Line => (look(number), 0.0),
                Style::Marks => (look(number), beside(number, measured)),
            };
            number += usize::from(series.style != Style::Ideal);
            let places: Vec<Place> = series
                .points
                .iter()
                .map(|point| Place {
                    at: (x.at(point.x) + apart, y.at(point.y)),
                    interval: point.interval.map(|(low, high)| (y.at(low), y.at(high))),
                })
                .collect();
            draw_series(&mut chart, series.style, look, &places)?;
        }
        Ok(())
    }
}

/// As plotters sees an axis: from 0 to 1, with named places.
impl Ranged for Placed {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, at: &f64, (begin, end): (i32, i32)) -> i32 {
        #[expect(clippy::cast_possible_truncation, reason = "between begin and end")]
        let offset =
            ((self.inset + at * (1.0 - 2.0 * self.inset)) * f64::from(end - begin)).round() as i32;
        begin + offset
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            return Vec::new();
        }
        self.ticks.iter().map(|tick| tick.at).collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        0.0..1.0
    }
}

impl ValueFormatter<f64> for Placed {
    fn format(at: &f64) -> String {
        at.to_string()
    }

    fn format_ext(&self, at: &f64) -> String {
        self.label(*at)
    }
}

/// A point in the chart.
struct Place {
    at: (f64, f64),
    interval: Option<(f64, f64)>,
}

/// How far the points of a series stand from their true x, so that those of one x do not hide each other.
fn beside(number: usize, of: usize) -> f64 {
    // More series than have room stand on each other again.
    let of = of.min(8);
    let number = number % 8;
    #[expect(clippy::cast_precision_loss, reason = "a few series")]
    let (number, of) = (number as f64, of as f64);
    (number - (of - 1.0) / 2.0) * APART
}

fn draw_series(chart: &mut Chart<'_, '_>, style: Style, look: Look, places: &[Place]) -> Outcome {
    let stroke = look.colour.rgb().stroke_width(if style == Style::Ideal { 3 } else { 4 });
    let line = places.iter().map(|place| place.at);
    match look.dash {
        None => {
            chart.draw_series(LineSeries::new(line, stroke))?;
        }
        Some((dash, gap)) => {
            chart.draw_series(DashedLineSeries::new(line, dash, gap, stroke))?;
        }
    }
    if style != Style::Marks {
        return Ok(());
    }
    let whisker = look.colour.rgb().stroke_width(2);
    for place in places {
        if let Some((low, high)) = place.interval {
            let x = place.at.0;
            chart.draw_series([PathElement::new(vec![(x, low), (x, high)], whisker)])?;
            for end in [low, high] {
                let bar = PathElement::new(vec![(-MARK, 0), (MARK, 0)], whisker);
                chart.draw_series([EmptyElement::at((x, end)) + bar])?;
            }
        }
        draw_mark(chart, look, place.at)?;
    }
    Ok(())
}

fn draw_mark(chart: &mut Chart<'_, '_>, look: Look, at: (f64, f64)) -> Outcome {
    let at = EmptyElement::at(at);
    let colour = look.colour.rgb();
    match outline(look.mark) {
        Shape::Polygon(corners) => {
            chart.draw_series([at + Polygon::new(corners, colour.filled())])?;
        }
        Shape::Circle(style) => {
            chart.draw_series([at + Circle::new((0, 0), MARK, style(look.colour))])?;
        }
        Shape::Cross => {
            chart.draw_series([at + Cross::new((0, 0), MARK, colour.stroke_width(4))])?;
        }
    }
    Ok(())
}

/// A mark around (0, 0).
enum Shape {
    Polygon(Vec<(i32, i32)>),
    Circle(fn(Colour) -> ShapeStyle),
    Cross,
}

fn outline(mark: Mark) -> Shape {
    match mark {
        Mark::Circle => Shape::Circle(|colour| colour.rgb().filled()),
        Mark::Ring => Shape::Circle(|colour| colour.rgb().stroke_width(4)),
        Mark::Square => {
            let side = MARK - 1;
            Shape::Polygon(vec![(-side, -side), (side, -side), (side, side), (-side, side)])
        }
        Mark::Triangle => {
            Shape::Polygon(vec![(0, -MARK - 2), (MARK + 1, MARK - 2), (-MARK - 1, MARK - 2)])
        }
        Mark::Diamond => {
            let reach = MARK + 3;
            Shape::Polygon(vec![(0, -reach), (reach, 0), (0, reach), (-reach, 0)])
        }
        Mark::Cross => Shape::Cross,
    }
}

/// The legend: names in rows above the chart, where no point can be.
struct Entries {
    placed: Vec<Entry>,
    rows: i32,
}

struct Entry {
    name: String,
    look: Look,
    has_marks: bool,
    at: (i32, i32),
}

impl Entries {
    fn of(series: &[Series]) -> Self {
        let width = i32::try_from(SIZE.0).unwrap_or(i32::MAX) - 50;
        let (mut column, mut row, mut number) = (150_i32, 0, 0);
        let mut placed = Vec::new();
        for series in series.iter().filter(|series| !series.points.is_empty()) {
            let characters = i32::try_from(series.name.chars().count()).unwrap_or(i32::MAX);
            let needs = characters.saturating_mul(CHARACTER).saturating_add(LEGEND_LINE + 60);
            if column > 150 && column.saturating_add(needs) > width {
                (column, row) = (150, row + 1);
            }
            let look = if series.style == Style::Ideal { ideal_look() } else { look(number) };
            let at = (column, row * LEGEND_ROW + LEGEND_ROW / 2);
            placed.push(Entry {
                name: series.name.clone(),
                look,
                has_marks: series.style == Style::Marks,
                at,
            });
            number += usize::from(series.style != Style::Ideal);
            column = column.saturating_add(needs);
        }
        Self { placed, rows: row + 1 }
    }

    fn draw(&self, area: &Canvas<'_>) -> Outcome {
        let left = Pos::new(HPos::Left, VPos::Center);
        for entry in &self.placed {
            let (x, y) = entry.at;
            let stroke = entry.look.colour.rgb().stroke_width(4);
            match entry.look.dash {
                None => area.draw(&PathElement::new(vec![(x, y), (x + LEGEND_LINE, y)], stroke))?,
                Some((dash, gap)) => {
                    let (dash, gap) =
                        (i32::try_from(dash).unwrap_or(1), i32::try_from(gap).unwrap_or(1));
                    let mut from = x;
                    while from < x + LEGEND_LINE {
                        let to = (from + dash).min(x + LEGEND_LINE);
                        area.draw(&PathElement::new(vec![(from, y), (to, y)], stroke))?;
                        from = to + gap;
                    }
                }
            }
            if entry.has_marks {
                let centre = EmptyElement::at((x + LEGEND_LINE / 2, y));
                match outline(entry.look.mark) {
                    Shape::Polygon(corners) => {
                        area.draw(
                            &(centre + Polygon::new(corners, entry.look.colour.rgb().filled())),
                        )?;
                    }
                    Shape::Circle(style) => {
                        area.draw(&(centre + Circle::new((0, 0), MARK, style(entry.look.colour))))?;
                    }
                    Shape::Cross => area.draw(&(centre + Cross::new((0, 0), MARK, stroke)))?,
                }
            }
            let text = font(INK).pos(left);
            area.draw(&Text::new(entry.name.clone(), (x + LEGEND_LINE + 14, y), text))?;
        }
        Ok(())
    }
}

fn ideal_look() -> Look {
    Look { colour: IDEAL, mark: Mark::Cross, dash: Some((10, 10)) }
}

fn font(colour: Colour) -> TextStyle<'static> {
    ("sans-serif", FONT_SIZE, FontStyle::Normal).into_font().color(&colour.rgb())
}

/// A text as an attribute's value.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Axis, Point, Scale};
    use super::*;
    use crate::report::unit::Unit;

    fn plot(series: usize) -> Plot {
        let points = |n: usize| {
            [0.0, 1e4, 1e5, 1e6].map(|x| Point {
                x,
                y: f64::from(u32::try_from(n).unwrap()) * 1e3 + x / 1e3,
                interval: Some((n as f64, x)),
            })
        };
        let axis = |name: &str, unit, scale| Axis { name: name.to_owned(), unit, scale };
        Plot {
            title: "Goodput & \"more\"".to_owned(),
            x: axis("Flood", Unit::PacketsPerSecond, Scale::Wide),
            y: axis("Goodput", Unit::BitsPerSecond, Scale::Linear),
            series: (0..series)
                .map(|n| Series {
                    name: format!("<{n}> & co"),
                    style: Style::Marks,
                    points: points(n).to_vec(),
                })
                .collect(),
        }
    }

    #[test]
    fn a_plot_is_whole_and_escaped() {
        let svg = plot(9).svg().unwrap().unwrap();
        assert!(
            svg.starts_with(
                "<svg role=\"img\" aria-label=\"Goodput &amp; &quot;more&quot;\" viewBox="
            ),
            "{svg:.200}"
        );
        assert!(svg.trim_end().ends_with("</svg>"));
        for text in ["Flood [pps]", "Goodput [bit/s]", "100k", "1M", "&lt;8&gt; &amp; co"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn nothing_to_draw_draws_nothing() {
        let mut plot = plot(2);
        assert!(plot.svg().unwrap().is_some());
        plot.series[0].style = Style::Ideal;
        plot.series[1].points.clear();
        assert_eq!(plot.svg().unwrap(), None);
    }

    #[test]
    fn strange_numbers_are_drawn_at_the_edge() {
        let mut plot = plot(1);
        plot.series[0].points =
            vec![Point::new(f64::NAN, 1.0), Point::new(1.0, f64::INFINITY), Point::new(-1.0, -1.0)];
        let svg = plot.svg().unwrap().unwrap();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn long_names_wrap() {
        let mut plot = plot(3);
        plot.series.iter_mut().for_each(|series| {
            series.name = "a name that fills most of one row of the legend".to_owned()
        });
        assert_eq!(Entries::of(&plot.series).rows, 3);
    }
}
