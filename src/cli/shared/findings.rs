//! Findings as people read them on a terminal, as lines for other tools, or as JSON.

use std::io::{self, IsTerminal as _, Write};

use kstar_common::finding::{Finding, Verdict};
use kstar_common::wrapping::wrapped;
use serde_json::json;

use super::failure::Failure;
use super::logging;

/// As many columns as every terminal has.
const WIDTH: usize = 80;

/// The longest of what findings are about: `Home Assistant`.
const ABOUT: usize = 14;

/// Where the text of a finding begins: after a margin, the verdict and what it is about.
const INDENT: usize = 2 + 5 + 2 + ABOUT + 2;

/// How findings are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Parts with headings, in 80 columns.
    Terminal {
        /// Whether verdicts have colours.
        colours: bool,
    },
    /// One line for each finding.
    Lines,
    /// One JSON object for each finding.
    Json,
}

impl Form {
    /// As standard output wants it.
    pub fn of_output(json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        match json {
            true => Self::Json,
            false if terminal => Self::Terminal {
                colours: logging::colours(terminal),
            },
            false => Self::Lines,
        }
    }
}

/// Shows findings as they come, and counts what is wrong.
pub struct Findings<'a, W> {
    out: &'a mut W,
    form: Form,
    part: String,
    wrong: usize,
    notes: usize,
}

impl<'a, W: Write> Findings<'a, W> {
    pub fn new(out: &'a mut W, form: Form) -> Self {
        Self {
            out,
            form,
            part: String::new(),
            wrong: 0,
            notes: 0,
        }
    }

    /// Begins a part; looking at it may take seconds.
    pub fn begin(&mut self, part: String) -> io::Result<()> {
        self.part = part;
        if let Form::Terminal { .. } = self.form {
            writeln!(self.out, "{}", self.part)?;
        }
        self.out.flush()
    }

    /// Shows what was found about the part.
    pub fn show(&mut self, findings: &[Finding]) -> io::Result<()> {
        for finding in findings {
            match finding.verdict {
                Verdict::Good => {}
                Verdict::Note => self.notes += 1,
                Verdict::Wrong => self.wrong += 1,
            }
            match self.form {
                Form::Terminal { colours } => self.show_wrapped(finding, colours)?,
                Form::Lines => self.show_line(finding)?,
                Form::Json => self.show_json(finding)?,
            }
        }
        self.out.flush()
    }

    fn show_wrapped(&mut self, finding: &Finding, colours: bool) -> io::Result<()> {
        let word = word(finding.verdict);
        let colour = match finding.verdict {
            Verdict::Good => "\x1b[32m",
            Verdict::Note => "\x1b[33m",
            Verdict::Wrong => "\x1b[1;31m",
        };
        let (begin, end) = if colours {
            (colour, "\x1b[0m")
        } else {
            ("", "")
        };
        let mut margin = format!("  {begin}{word:5}{end}  {:ABOUT$}  ", finding.about);
        let fix = finding.fix.iter().map(|fix| format!("-> {fix}"));
        for text in std::iter::once(finding.said.clone()).chain(fix) {
            for line in wrapped(&text, WIDTH - INDENT) {
                writeln!(self.out, "{margin}{line}")?;
                margin = " ".repeat(INDENT);
            }
        }
        Ok(())
    }

    fn show_line(&mut self, finding: &Finding) -> io::Result<()> {
        let Finding {
            about,
            verdict,
            said,
            fix,
        } = finding;
        let fix = fix.iter().map(|fix| format!(" -> {fix}"));
        let fix: String = fix.collect();
        let word = word(*verdict);
        writeln!(self.out, "{word:5}  {}: {about}: {said}{fix}", self.part)
    }

    fn show_json(&mut self, finding: &Finding) -> io::Result<()> {
        let mut line = json!(finding);
        if let Some(keys) = line.as_object_mut() {
            keys.insert("part".to_owned(), json!(self.part));
        }
        writeln!(self.out, "{line}")
    }

    /// Sums up; a failure if anything is wrong.
    pub fn end(self) -> Result<(), Failure> {
        if self.form != Form::Json {
            let count = |count: usize, one: &str, many: &str| match count {
                0 => None,
                1 => Some(format!("1 {one}")),
                more => Some(format!("{more} {many}")),
            };
            let counts: Vec<String> = [
                count(self.wrong, "thing is wrong", "things are wrong"),
                count(self.notes, "is worth a look", "are worth a look"),
            ]
            .into_iter()
            .flatten()
            .collect();
            let sum = if counts.is_empty() {
                "all is well".to_owned()
            } else {
                format!("{}; docs/troubleshooting.md tells more", counts.join(", "))
            };
            writeln!(self.out, "{sum}")?;
        }
        self.out.flush()?;
        if self.wrong == 0 {
            Ok(())
        } else {
            Err(Failure::Shown)
        }
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "good",
        Verdict::Note => "note",
        Verdict::Wrong => "WRONG",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(form: Form, findings: &[Finding]) -> (String, bool) {
        let mut out = Vec::new();
        let mut shown = Findings::new(&mut out, form);
        shown.begin("inverter roof".to_owned()).expect("memory");
        shown.show(findings).expect("memory");
        let all_well = shown.end().is_ok();
        (String::from_utf8(out).expect("text"), all_well)
    }

    fn silent() -> Finding {
        Finding::wrong(
            "replies",
            "no answer from 192.168.1.50:8899, which is in another network than this machine (10.0.0.7/24)",
            "check `host`",
        )
    }

    #[test]
    fn on_a_terminal_everything_fits_80_columns() {
        let form = Form::Terminal { colours: false };
        let (text, all_well) = shown(form, &[Finding::good("address", "found"), silent()]);
        assert_eq!(
            text,
            "\
inverter roof
  good   address         found
  WRONG  replies         no answer from 192.168.1.50:8899, which is in another
                         network than this machine (10.0.0.7/24)
                         -> check `host`
1 thing is wrong; docs/troubleshooting.md tells more
"
        );
        assert!(!all_well);
    }

    #[test]
    fn colours_are_for_the_verdict_alone() {
        let (text, all_well) = shown(
            Form::Terminal { colours: true },
            &[Finding::good("address", "found")],
        );
        assert_eq!(
            text,
            "inverter roof\n  \x1b[32mgood \x1b[0m  address         found\nall is well\n"
        );
        assert!(all_well);
    }

    #[test]
    fn elsewhere_a_finding_is_one_line() {
        let (text, _) = shown(Form::Lines, &[silent()]);
        assert!(
            text.starts_with("WRONG  inverter roof: replies: no answer from 192.168.1.50:8899, "),
            "{text}"
        );
        assert_eq!(text.lines().count(), 2);
        let (text, _) = shown(
            Form::Json,
            &[silent(), Finding::note("lock", "held", "wait")],
        );
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            lines[1],
            json!({"part": "inverter roof", "about": "lock", "verdict": "note", "said": "held", "fix": "wait"})
        );
    }
}
