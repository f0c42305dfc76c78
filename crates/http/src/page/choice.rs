//! Above a period: which kind of period it is to be, of which inverter, which day, and the ways to its neighbours.

use jiff::civil::Date;
use kstar_reports::energy::Subject;
use kstar_reports::period::Calendar;
use maud::{Markup, html};

use super::frame::Visit;
use super::past::Period;

/// Which kind of period, of which inverter, and which day.
pub(super) fn choice(visit: &Visit, period: &Period) -> Markup {
    let words = visit.words;
    let kinds = [
        (Subject::One(Calendar::Day), words.day),
        (Subject::One(Calendar::Week), words.week),
        (Subject::One(Calendar::Month), words.month),
        (Subject::One(Calendar::Year), words.year),
        (Subject::Total, words.total),
    ];
    html! {
        div.choice {
            nav aria-label=(words.period) {
                ul.tabs {
                    @for (subject, name) in kinds {
                        li {
                            a href={ (visit.root) (period.path(subject, period.first, "")) }
                                aria-current=[(subject == period.subject).then_some("page")] { (name) }
                        }
                    }
                }
            }
            form #choice method="get" action={ (visit.root) (period.subject.name()) } {
                @if period.subject != Subject::Total {
                    input type="date" name="date" aria-label=(words.date) value=(period.first) max=(period.today) required;
                }
                @if period.names.len() > 1 {
                    select name="inverter" aria-label=(words.inverter) {
                        option value="" { (words.all_inverters) }
                        @for name in &period.names {
                            option value=(name) selected[period.inverter.as_ref() == Some(name)] { (visit.titles.of(name)) }
                        }
                    }
                } @else if let Some(name) = &period.inverter {
                    input type="hidden" name="inverter" value=(name);
                }
                @if let Some(quantity) = period.quantity {
                    input type="hidden" name="quantity" value=(quantity.name());
                }
                @if period.subject != Subject::Total || period.names.len() > 1 {
                    button { (words.show) }
                }
            }
        }
    }
}

/// The period's name between the ways to the ones before and after.
pub(super) fn steps(visit: &Visit, title: &str, period: &Period) -> Markup {
    let words = visit.words;
    let [before, after] = period.neighbours();
    let link = |date: Option<Date>, rel: &'static str, name: &'static str, sign: &'static str| {
        let path = date.map(|date| period.path(period.subject, date, ""));
        html! {
            @match path {
                Some(path) => a.step rel=(rel) href={ (visit.root) (path) } aria-label=(name) title=(name) { (sign) },
                None => span.step {},
            }
        }
    };
    html! {
        div.steps {
            (link(before, "prev", words.earlier, "‹"))
            h1 { (title) }
            (link(after, "next", words.later, "›"))
        }
    }
}
