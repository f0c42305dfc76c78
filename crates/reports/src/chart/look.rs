//! How charts look: colours and sizes.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;

/// On which ground a chart is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// Dark on white.
    #[default]
    Light,
    /// Light on almost black.
    Dark,
    /// Inside a page that has its own title, legend and ground, and whose style sheet says what the colours are. Only as SVG.
    Page,
}

/// A colour for areas, and a stronger one for their edges, which stand out from the ground.
#[derive(Clone, Copy, Debug)]
pub struct Ink {
    pub fill: &'static str,
    pub edge: &'static str,
}

/// The colours of a theme. Neighbours differ in lightness and in a way that all kinds of colour vision can see.
#[derive(Clone, Copy, Debug)]
pub struct Colours {
    /// Behind everything.
    pub ground: &'static str,
    /// Words that matter.
    pub text: &'static str,
    /// Words on axes.
    pub faint: &'static str,
    /// Lines of the scale.
    pub line: &'static str,
    /// What the panels give.
    pub pv: Ink,
    /// What the panels give and the house does not take.
    pub pv_surplus: Ink,
    /// What the house takes.
    pub house: Ink,
    /// Into and out of the battery.
    pub battery: Ink,
    /// What is in the battery.
    pub charge: &'static str,
    /// Across the grid connection.
    pub grid: Ink,
}

impl Theme {
    pub fn colours(self) -> &'static Colours {
        const fn ink(fill: &'static str, edge: &'static str) -> Ink {
            Ink { fill, edge }
        }
        const LIGHT: Colours = Colours {
            ground: "#ffffff",
            text: "#1b2430",
            faint: "#5b6675",
            line: "#e3e7ec",
            pv: ink("#f6b93b", "#b7791f"),
            pv_surplus: ink("#fbe2ad", "#b7791f"),
            house: ink("#3d85c6", "#1f5f99"),
            battery: ink("#2aa584", "#10725a"),
            charge: "#d5efe8",
            grid: ink("#c379ae", "#93487e"),
        };
        const DARK: Colours = Colours {
            ground: "#12161c",
            text: "#e8ebf0",
            faint: "#9aa5b4",
            line: "#28303b",
            pv: ink("#e9ab2e", "#ffd27a"),
            pv_surplus: ink("#6d5526", "#ffd27a"),
            house: ink("#3f86c4", "#8cc2f0"),
            battery: ink("#239a7a", "#6fdcbd"),
            charge: "#17352f",
            grid: ink("#b06a9c", "#e5a6d2"),
        };
        const PAGE: Colours = Colours {
            ground: "none",
            text: "var(--text)",
            faint: "var(--faint)",
            line: "var(--line)",
            pv: ink("var(--pv)", "var(--pv-edge)"),
            pv_surplus: ink("var(--pv-surplus)", "var(--pv-edge)"),
            house: ink("var(--house)", "var(--house-edge)"),
            battery: ink("var(--battery)", "var(--battery-edge)"),
            charge: "var(--charge)",
            grid: ink("var(--grid)", "var(--grid-edge)"),
        };
        match self {
            Self::Light => &LIGHT,
            Self::Dark => &DARK,
            Self::Page => &PAGE,
        }
    }
}

/// How large a chart is, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// From left to right.
    pub width: u16,
    /// From top to bottom.
    pub height: u16,
}

impl Size {
    /// Smaller ones have no room for their words.
    const SMALLEST: Self = Self {
        width: 480,
        height: 300,
    };
    /// Larger ones would take more memory than a small machine has to spare.
    const LARGEST: Self = Self {
        width: 4096,
        height: 4096,
    };
}

impl Default for Size {
    fn default() -> Self {
        Self {
            width: 1200,
            height: 675,
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (least, most) = (Self::SMALLEST, Self::LARGEST);
        let size = text
            .split_once(['x', 'X', '×'])
            .and_then(|(width, height)| {
                Some(Self {
                    width: width.trim().parse().ok()?,
                    height: height.trim().parse().ok()?,
                })
            });
        size.filter(|size| {
            (least.width..=most.width).contains(&size.width)
                && (least.height..=most.height).contains(&size.height)
        })
        .ok_or_else(|| {
            format!("write width and height in pixels, from {least} to {most}, like 1200x675")
        })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// The words and the decimal separator of a chart.
#[derive(Debug, PartialEq, Eq)]
pub struct ChartWords {
    pub state_of_charge: &'static str,
    /// From January on, a few letters each.
    pub months: [&'static str; 12],
    /// From Monday on, a few letters each.
    pub weekdays: [&'static str; 7],
    pub decimal: char,
}

impl ChartWords {
    pub const ENGLISH: Self = Self {
        state_of_charge: "Battery, state of charge",
        months: [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ],
        weekdays: ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
        decimal: '.',
    };

    /// The name of a day's month.
    pub fn month(&self, date: Date) -> &'static str {
        let index = usize::try_from(date.month() - 1).unwrap_or_default();
        self.months.get(index).copied().unwrap_or_default()
    }

    /// The name of a day of the week.
    pub fn weekday(&self, date: Date) -> &'static str {
        let index = usize::try_from(date.weekday().to_monday_zero_offset()).unwrap_or_default();
        self.weekdays.get(index).copied().unwrap_or_default()
    }
}

/// How every chart looks.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Its ground.
    pub theme: Theme,
    pub size: Size,
    pub words: &'static ChartWords,
}

impl Look {
    /// One that stands by itself, in English.
    pub const fn alone(theme: Theme, size: Size) -> Self {
        Self {
            theme,
            size,
            words: &ChartWords::ENGLISH,
        }
    }

    /// One inside a page, in the page's language.
    pub const fn of_page(size: Size, words: &'static ChartWords) -> Self {
        Self {
            theme: Theme::Page,
            size,
            words,
        }
    }

    /// Whether title and legend stand around the chart and not in it.
    pub(super) fn is_bare(self) -> bool {
        self.theme == Theme::Page
    }
}
