//! Colours, marks and dashes.
//!
//! The colours are those of Okabe and Ito (Color Universal Design, 2008), which the common kinds of colour blindness
//! leave distinct, without the yellow that a white page swallows. Plotters writes colours into attributes; a rule of
//! CSS is stronger than an attribute, and so [`dark`] gives each colour its second value where the page is dark.

use std::fmt::Write;

use plotters::style::RGBColor;

/// A colour on light and on dark pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    light: (u8, u8, u8),
    dark: (u8, u8, u8),
}

/// Texts.
pub const INK: Colour = Colour { light: (0x1c, 0x1e, 0x21), dark: (0xe6, 0xe8, 0xea) };

/// What was not measured.
pub const IDEAL: Colour = Colour { light: (0x77, 0x7b, 0x80), dark: (0x9a, 0x9f, 0xa5) };

/// Axes.
pub const AXIS: Colour = Colour { light: (0x8a, 0x8f, 0x95), dark: (0x7d, 0x83, 0x8a) };

/// The lines behind.
pub const GRID: Colour = Colour { light: (0xdf, 0xe2, 0xe5), dark: (0x3a, 0x3e, 0x43) };

/// Of series: blue, vermilion, green, purple, orange, sky blue, black.
pub const SERIES: [Colour; 7] = [
    Colour { light: (0x00, 0x72, 0xb2), dark: (0x4d, 0xa9, 0xe0) },
    Colour { light: (0xd5, 0x5e, 0x00), dark: (0xf0, 0x7f, 0x2e) },
    Colour { light: (0x00, 0x9e, 0x73), dark: (0x2b, 0xc7, 0x9a) },
    Colour { light: (0xcc, 0x79, 0xa7), dark: (0xe3, 0x9c, 0xc3) },
    Colour { light: (0xb8, 0x7f, 0x00), dark: (0xe6, 0xb0, 0x35) },
    Colour { light: (0x56, 0xb4, 0xe9), dark: (0x8f, 0xd0, 0xf5) },
    Colour { light: (0x10, 0x10, 0x10), dark: (0xf4, 0xf4, 0xf4) },
];

/// What stands at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Filled.
    Circle,
    /// Filled.
    Square,
    /// Filled, its tip up.
    Triangle,
    /// Filled, a square on its corner.
    Diamond,
    /// A circle's line.
    Ring,
    /// Two strokes.
    Cross,
}

const MARKS: [Mark; 6] =
    [Mark::Circle, Mark::Square, Mark::Triangle, Mark::Diamond, Mark::Ring, Mark::Cross];

/// Lengths of dash and gap, in units of the drawing; none is a whole line.
const DASHES: [Option<(u32, u32)>; 4] = [None, Some((22, 10)), Some((6, 8)), Some((38, 8))];

/// How a series looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Its colour.
    pub colour: Colour,
    /// What stands at its points.
    pub mark: Mark,
    /// Dash and gap of its line.
    pub dash: Option<(u32, u32)>,
}

/// How the series of that number looks. The first 84 look all different.
#[must_use]
pub fn look(index: usize) -> Look {
    Look {
        colour: SERIES[index % SERIES.len()],
        mark: MARKS[index % MARKS.len()],
        dash: DASHES[index % DASHES.len()],
    }
}

impl Colour {
    /// As it is written into a drawing.
    #[must_use]
    pub fn rgb(self) -> RGBColor {
        let (red, green, blue) = self.light;
        RGBColor(red, green, blue)
    }
}

/// Rules of CSS that give every colour of a drawing below `within` its value for dark pages.
#[must_use]
pub fn dark(within: &str) -> String {
    let hex = |(red, green, blue): (u8, u8, u8)| format!("#{red:02X}{green:02X}{blue:02X}");
    let mut css = String::new();
    for colour in [INK, IDEAL, AXIS, GRID].into_iter().chain(SERIES) {
        let (light, dark) = (hex(colour.light), hex(colour.dark));
        for attribute in ["fill", "stroke"] {
            let _ = writeln!(css, "{within} [{attribute}=\"{light}\"] {{ {attribute}: {dark} }}");
        }
    }
    css
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance and contrast as WCAG 2.1 defines them.
    fn contrast(a: (u8, u8, u8), b: (u8, u8, u8)) -> f64 {
        let linear = |channel: u8| {
            let value = f64::from(channel) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        let luminance = |(red, green, blue)| {
            0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)
        };
        let (a, b) = (luminance(a) + 0.05, luminance(b) + 0.05);
        a.max(b) / a.min(b)
    }

    #[test]
    fn series_look_different() {
        let looks: Vec<Look> = (0..84).map(look).collect();
        for (index, look) in looks.iter().enumerate() {
            assert!(!looks[..index].contains(look), "{index}");
        }
    }

    #[test]
    fn every_colour_can_be_seen_on_either_page() {
        for colour in SERIES {
            let (light, dark) = (
                contrast(colour.light, (255, 255, 255)),
                contrast(colour.dark, (0x16, 0x18, 0x1b)),
            );
            assert!(
                light >= 2.2 && dark >= 4.5,
                "{colour:?}: {light:.1} on white, {dark:.1} on dark"
            );
        }
        assert!(
            contrast(INK.light, (255, 255, 255)) > 7.0
                && contrast(INK.dark, (0x16, 0x18, 0x1b)) > 7.0
        );
    }

    #[test]
    fn every_light_colour_has_one_dark_value() {
        let all: Vec<Colour> = [INK, IDEAL, AXIS, GRID].into_iter().chain(SERIES).collect();
        for (index, colour) in all.iter().enumerate() {
            assert!(all[..index].iter().all(|other| other.light != colour.light), "{colour:?}");
        }
        assert!(dark("svg").contains("svg [fill=\"#0072B2\"] { fill: #4DA9E0 }"));
    }
}
