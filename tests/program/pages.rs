//! The pages for browsers: that they show what the API tells, in both languages, to those who may see it, and that nobody
//! can bring anything into them.

use std::io::{Read, Write};

use serde_json::Value;

use crate::http::{Answer, Served, connect};
use crate::past::Past;
use crate::process::wait_until;
use crate::world::{Folder, Roof};

const SECTIONS: &str =
    "[sinks.stdout]\n[sinks.sqlite]\npath = \"history.db\"\n[http]\nlisten = \"127.0.0.1:0\"\n";

const BROWSER: &str = "Accept: text/html,application/xhtml+xml,*/*;q=0.8";

const TARIFF: &str = "[[tariff]]\ncurrency = \"EUR\"\nprice = 0.32\nfeed_in = 0.08\n";

/// The pages of a collector with a history of 12 and 13 June 2026.
const PAGES: [&str; 11] = [
    "/",
    "/day",
    "/day/2026-06-12",
    "/day/yesterday",
    "/week/2026-06-12",
    "/month/2026-06",
    "/year/2026",
    "/total",
    "/day?date=2026-06-12&inverter=roof1",
    "/inverter/roof1",
    "/collector",
];

/// A collector that has a past of two days.
fn with_past(roof: &Roof, sections: &str) -> Served {
    // Nothing is added to the past between two questions.
    let config = roof.config(sections).replace("\"50ms\"", "\"5m\"");
    let folder = Folder::with_config(&config);
    let past = Past {
        days: 2,
        inverters: &["roof1"],
        metered: true,
        ..Past::default()
    };
    past.write(&folder.join("history.db"));
    let served = Served::in_folder(folder);
    served.process.wait_for_printed(1);
    served
}

fn page(served: &Served, path: &str) -> Answer {
    served.ask(path, &[BROWSER])
}

#[track_caller]
fn is_page(answer: &Answer) {
    let content_type = &answer.headers["content-type"];
    assert_eq!(content_type, "text/html; charset=utf-8", "{answer:?}");
    let policy = &answer.headers["content-security-policy"];
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(policy.contains("frame-ancestors 'self'"), "{policy}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(answer.headers[name], value);
    }
    assert!(answer.headers.contains_key("permissions-policy"));
    // Relative, so that they hold behind a proxy; and nothing that the policy would forbid.
    for wrong in [
        "href=\"/",
        "src=\"/",
        "action=\"/",
        "href=\"http",
        "src=\"http",
        " style=",
        " onload=",
        "<style",
    ] {
        assert!(!answer.body.contains(wrong), "{wrong} in {}", answer.body);
    }
}

#[test]
fn a_browser_gets_pages_and_others_the_list() {
    let roof = Roof::new(1);
    let served = with_past(&roof, SECTIONS);
    for path in PAGES {
        let answer = page(&served, path);
        assert_eq!(answer.status, 200, "{path} {answer:?}");
        is_page(&answer);
    }
    let list = served.get("/");
    assert_eq!(list.headers["content-type"], "text/plain; charset=utf-8");
    for (path, content_type) in [
        ("/assets/page.css", "text/css; charset=utf-8"),
        ("/assets/page.js", "text/javascript; charset=utf-8"),
        ("/assets/icon.svg", "image/svg+xml"),
        ("/manifest.webmanifest", "application/manifest+json"),
    ] {
        let answer = served.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.headers["content-type"], content_type);
        assert_eq!(answer.headers["cache-control"], "no-cache");
        // The page names the edition, which a browser keeps.
        let now = page(&served, "/").body;
        let (_, edition) = now.split_once(&path[1..]).expect("it is used");
        let (edition, _) = edition.split_once('"').expect("an end");
        let kept = served.get(&format!("{path}{edition}"));
        assert!(kept.headers["cache-control"].contains("immutable"));
    }
    let log = served.process.stop().expect_code(0);
    assert_eq!(log.logged("ERROR") + log.logged("panic"), 0, "{log:#?}");
}

/// How a page may show what the API has rounded to a thousandth.
fn figures(value: f64, unit: &str) -> [String; 2] {
    [value - 0.0005, value + 0.0005]
        .map(|value| format!("<dd>{value:.2} {unit}</dd>").replace("-0.00", "0.00"))
}

#[test]
fn a_page_has_the_figures_of_the_api_and_its_files_too() {
    let roof = Roof::new(1);
    let served = with_past(&roof, &format!("{TARIFF}{SECTIONS}"));
    for (path, question) in [
        ("/day/2026-06-12", "period=day&date=2026-06-12"),
        ("/month/2026-06", "period=month&date=2026-06"),
        ("/year/2026", "period=year&date=2026"),
    ] {
        let told = served.get(&format!("/api/v1/report?{question}")).json();
        let shown = page(&served, path).body;
        let sum = &told["sum"];
        let number = |key: &str| {
            sum[key]
                .as_f64()
                .unwrap_or_else(|| panic!("{key} in {told}"))
        };
        for key in [
            "production",
            "consumption",
            "import",
            "export",
            "charged",
            "discharged",
        ] {
            let figures = figures(number(key), "kWh");
            let is_there = figures.iter().any(|figure| shown.contains(figure));
            assert!(is_there, "{path} {key} {figures:?}");
        }
        for key in ["self_sufficiency", "self_consumption"] {
            let figure = format!("<dd>{:.0} %</dd>", number(key) * 100.0);
            assert!(shown.contains(&figure), "{path} {key} {figure}");
        }
        for key in ["cost", "income", "savings"] {
            let figures = figures(number(key), "EUR");
            let is_there = figures.iter().any(|figure| shown.contains(figure));
            assert!(is_there, "{path} {key} {figures:?}");
        }
        assert_eq!(shown.matches("<svg class=\"chart").count(), 2, "{path}");
        let tips = shown.split_once("data-tips=\"").expect("values").1;
        let tips = tips
            .split_once('"')
            .expect("an end")
            .0
            .replace("&quot;", "\"");
        let tips: Vec<Value> = serde_json::from_str(&tips).expect("JSON");
        assert!(
            !tips.is_empty() && tips[0]["lines"].is_array(),
            "{path} {tips:?}"
        );
        assert!(shown.len() < 300_000, "{path} has {} bytes", shown.len());
        let parts = told["parts"].as_array().expect("parts");
        let csv = served.get(&format!("{path}.csv"));
        assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");
        assert!(csv.headers["content-disposition"].starts_with("attachment; filename=\"kstar-"));
        let rows: Vec<&str> = csv.body.lines().skip(1).collect();
        let known: Vec<&Value> = parts
            .iter()
            .filter(|part| part["coverage"].is_f64() || part["coverage"].is_i64())
            .collect();
        assert_eq!(rows.len(), known.len(), "{path}");
        for (row, part) in rows.iter().zip(known) {
            assert!(
                row.starts_with(part["begin"].as_str().expect("text")),
                "{row} {part}"
            );
            let cell = row.split(',').nth(2).expect("a cell");
            let told = part["production"].as_f64();
            let told = told.map(|kwh| format!("{kwh:.3}")).unwrap_or_default();
            assert_eq!(cell, told, "{row} {part}");
        }
        assert!(
            served
                .get(&format!("{path}.svg"))
                .body
                .starts_with("<svg xmlns=")
        );
    }
    let today = served.get("/api/v1/report").json();
    let now = page(&served, "/").body;
    let consumption = today["sum"]["consumption"].as_f64().expect("it goes on");
    // A reading may come between the two.
    let near = [0.0, 0.01].map(|more| format!("<dd>{:.2} kWh</dd>", consumption + more));
    assert!(
        near.iter().any(|figure| now.contains(figure)),
        "{near:?} {now}"
    );
    served.process.stop().expect_code(0);
}

#[test]
fn what_is_now_is_what_the_newest_reading_says() {
    let roof = Roof::new(1);
    let served = Served::once(&roof, SECTIONS);
    let reading = served.get("/api/v1/readings/latest").json();
    let reading = &reading[0];
    let shown = page(&served, "/inverter/roof1").body;
    for (name, value) in reading.as_object().expect("an object") {
        if let (Value::Number(number), true) = (value, name.ends_with("_voltage")) {
            assert!(
                shown.contains(&format!("<td class=\"number\">{number} V</td>")),
                "{name} {number}"
            );
        }
    }
    let inverters = served.get("/api/v1/inverters").json();
    let serial = inverters[0]["serial"].as_str().expect("a serial number");
    assert!(shown.contains(serial), "{serial}");
    let now = page(&served, "/").body;
    let watts = reading["pv_power"].as_f64().expect("a power");
    assert!(now.contains(&format!("PV: {watts:.0} W")), "{watts} {now}");
    assert!(now.contains(">online<"), "{now}");
    let part = served.get("/now").body;
    assert!(
        part.contains("class=\"flow\"") && !part.contains("<html"),
        "{part}"
    );
    served.process.stop().expect_code(0);
}

#[test]
fn an_inverter_that_does_not_answer_is_shown_as_silent() {
    let mut roof = Roof::new(2);
    let served = Served::by(&roof, SECTIONS);
    served.process.wait_for_printed(4);
    let both = page(&served, "/").body;
    assert!(both.contains("Whole house"), "{both}");
    assert_eq!(both.matches(">online<").count(), 2, "{both}");
    roof.take_first();
    wait_until("one is silent", || {
        let now = page(&served, "/").body;
        now.matches(">silent<").count() == 1 && now.matches(">online<").count() == 1
    });
    // What one of them does not know, the house does not either.
    let now = page(&served, "/").body;
    assert!(now.contains("PV: –, unknown"), "{now}");
    served.process.stop().expect_code(0);
}

#[test]
fn a_page_speaks_the_language_of_the_browser() {
    let roof = Roof::new(1);
    let served = with_past(&roof, SECTIONS);
    let told = served.get("/api/v1/report?date=2026-06-12").json();
    let production = told["sum"]["production"].as_f64().expect("some");
    for (language, code, title, separator) in [
        (
            "de-DE,de;q=0.9,en;q=0.5",
            "de",
            "Freitag, 12. Juni 2026",
            ",",
        ),
        ("en-GB,de;q=0.9", "en", "Friday 12 June 2026", "."),
        ("fr", "en", "Friday 12 June 2026", "."),
    ] {
        let language = format!("Accept-Language: {language}");
        let answer = served.ask("/day/2026-06-12", &[BROWSER, &language]);
        let shown = &answer.body;
        assert!(
            shown.contains(&format!("<html lang=\"{code}\">")),
            "{shown}"
        );
        assert!(shown.contains(title), "{shown}");
        let figure = format!("{production:.2} kWh").replace('.', separator);
        assert!(shown.contains(&figure), "{figure} {shown}");
        assert!(answer.headers["vary"].contains("accept-language"));
    }
    served.process.stop().expect_code(0);
}

#[test]
fn nobody_brings_anything_into_a_page() {
    let roof = Roof::new(1);
    let served = with_past(&roof, SECTIONS);
    for (path, status) in [
        ("/<script>alert(1)</script>", 400),
        ("/%3Cscript%3Ealert(1)%3C/script%3E", 404),
        ("/day/%3Cscript%3Ealert(1)%3C%2Fscript%3E", 400),
        ("/day/2026-02-30", 400),
        ("/day/2026", 400),
        ("/day/2026-06-12/x", 404),
        ("/day/-9999999-01-01", 400),
        ("/day/9999-12-31", 200),
        ("/day/0001-01-01", 200),
        ("/year/0000", 200),
        ("/day?date=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", 400),
        ("/day?inverter=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", 404),
        ("/day?x=%3Cscript%3Ealert(1)%3C/script%3E", 400),
        ("/day?date=2026-06-12&date=2026-06-12", 400),
        ("/total?date=%00", 200),
        ("/inverter/%3Cscript%3E", 404),
        ("/inverter/shed", 404),
        ("/inverter/..%2f..%2fetc%2fpasswd", 404),
        ("/assets/../../etc/passwd", 404),
        ("/assets/page.css/", 404),
        ("//evil.example/", 404),
        ("/day/2026-06-12.exe", 400),
        ("/day/1999-01-01.csv", 404),
        ("/login", 404),
    ] {
        let answer = page(&served, path);
        assert_eq!(answer.status, status, "{path} {answer:?}");
        assert!(!answer.body.contains("<script>"), "{path} {answer:?}");
        assert!(!answer.body.contains("alert(1)<"), "{path} {answer:?}");
        if !answer.body.is_empty() {
            is_page(&answer);
        }
    }
    for method in ["POST", "PUT", "DELETE"] {
        let host = format!("Host: {}", served.address);
        for path in ["/", "/login", "/day"] {
            let answer = Answer::to(served.address, method, path, &[&host, BROWSER]);
            assert_eq!(answer.status, 405, "{method} {path}");
        }
    }
    let log = served.process.stop().expect_code(0);
    assert_eq!(log.logged("ERROR") + log.logged("panic"), 0, "{log:#?}");
}

#[test]
fn without_a_history_there_is_what_is_now() {
    let roof = Roof::new(1);
    let served = Served::by(&roof, "[sinks.stdout]\n[http]\nlisten = \"127.0.0.1:0\"\n");
    served.process.wait_for_printed(2);
    let now = page(&served, "/");
    is_page(&now);
    assert!(now.body.contains("class=\"flow\""), "{now:?}");
    // The meter counts without a history too.
    assert!(now.body.contains("<dt>Consumption</dt><dd>0.0"), "{now:?}");
    for path in ["/day", "/month/2026-06", "/total", "/day/2026-06-12.csv"] {
        let answer = page(&served, path);
        assert!(answer.body.contains("[sinks.sqlite]"), "{path} {answer:?}");
    }
    assert_eq!(page(&served, "/collector").status, 200);
    served.process.stop().expect_code(0);
}

#[test]
fn without_the_pages_everything_is_as_it_was() {
    let roof = Roof::new(1);
    let served = Served::by(&roof, &format!("{SECTIONS}dashboard = false\n"));
    served.process.wait_for_printed(1);
    let list = page(&served, "/");
    assert!(list.body.starts_with("kstar-collector "), "{list:?}");
    for path in ["/day", "/now", "/collector", "/assets/page.css", "/login"] {
        page(&served, path).error(404);
    }
    served.process.stop().expect_code(0);
}

/// What comes of a form that is sent.
fn sent(served: &Served, form: &str, headers: &[&str]) -> Answer {
    let mut stream = connect(served.address);
    let length = format!("Content-Length: {}", form.len());
    let host = format!("Host: {}", served.address);
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let headers = [&[host.as_str(), kind, &length], headers]
        .concat()
        .join("\r\n");
    let text = format!("POST /login HTTP/1.0\r\n{headers}\r\n\r\n{form}");
    stream.write_all(text.as_bytes()).expect("written");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    Answer::read(&text)
}

#[test]
fn a_browser_logs_in_once_with_the_token() {
    let roof = Roof::new(1);
    let folder =
        Folder::with_config(&roof.config(&format!("{SECTIONS}token = {{ file = \"token\" }}\n")));
    folder.write("token", "correct-horse\n");
    let served = Served::in_folder(folder);
    served.process.wait_for_printed(1);
    for (path, location) in [
        ("/", "./login"),
        ("/day/2026-06-12", "../login?to=day/2026-06-12"),
        ("/inverter/roof1", "../login?to=inverter/roof1"),
        ("/day/%3Cscript%3E", "../login"),
    ] {
        let answer = page(&served, path);
        assert_eq!(
            (answer.status, &*answer.headers["location"]),
            (303, location),
            "{path}"
        );
    }
    // Programs are told to send a token, and so is whoever sends a wrong one.
    served.get("/").error(401);
    served
        .ask("/", &[BROWSER, "Authorization: Bearer x"])
        .error(401);
    page(&served, "/metrics").error(401);
    assert_eq!(served.get("/assets/page.css").status, 200);
    let form = page(&served, "/login?to=day");
    is_page(&form);
    assert!(form.body.contains("name=\"to\" value=\"day\""), "{form:?}");
    let strange = page(&served, "/login?to=https://evil.example");
    assert!(!strange.body.contains("evil"), "{strange:?}");

    let wrong = sent(&served, "token=correct-horsf", &[]);
    assert_eq!(wrong.status, 401);
    is_page(&wrong);
    assert!(wrong.body.contains("This token is wrong"), "{wrong:?}");
    assert!(!wrong.body.contains("horsf"), "{wrong:?}");
    for unreadable in [
        "",
        "token",
        "tokn=correct-horse",
        "token=a&token=b",
        "token=correct-horse&x=1",
    ] {
        let answer = sent(&served, unreadable, &[]);
        assert!(
            [400, 401].contains(&answer.status),
            "{unreadable} {answer:?}"
        );
        assert!(!answer.headers.contains_key("set-cookie"));
    }
    let large = format!("token={}", "x".repeat(100_000));
    assert_eq!(sent(&served, &large, &[]).status, 413);

    let right = sent(&served, "token=correct-horse&to=day%2F2026-06-12", &[]);
    assert_eq!(
        (right.status, &*right.headers["location"]),
        (303, "./day/2026-06-12")
    );
    let cookie = &right.headers["set-cookie"];
    for part in ["; HttpOnly", "; SameSite=Strict", "; Max-Age=2592000"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(
        !cookie.contains("Secure") && !cookie.contains("horse"),
        "{cookie}"
    );
    let (session, _) = cookie.split_once(';').expect("parts");
    let header = format!("Cookie: {session}");
    for path in ["/", "/metrics", "/api/v1/inverters", "/collector"] {
        assert_eq!(served.ask(path, &[BROWSER, &header]).status, 200, "{path}");
    }
    served
        .ask("/metrics", &["Cookie: kstar_session=x"])
        .error(401);
    let secure = sent(
        &served,
        "token=correct-horse",
        &["X-Forwarded-Proto: https"],
    );
    assert!(
        secure.headers["set-cookie"].ends_with("; Secure"),
        "{secure:?}"
    );

    let tries = (0..12).map(|_| sent(&served, "token=x", &[]).status);
    assert!(tries.collect::<Vec<_>>().ends_with(&[429, 429]));
    assert_eq!(sent(&served, "token=correct-horse", &[]).status, 429);
    // Who is in stays in.
    assert_eq!(served.ask("/", &[BROWSER, &header]).status, 200);
    let log = served.process.stop().expect_code(0);
    assert_eq!(log.logged("horse"), 0, "{log:#?}");
    assert_eq!(log.logged("a browser has logged in"), 2, "{log:#?}");
}

#[test]
fn the_same_time_a_year_before_stands_beside_a_period() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(SECTIONS));
    for year in [2024, 2025] {
        let past = Past {
            first: jiff::civil::date(year, 6, 12),
            inverters: &["roof1"],
            metered: true,
            ..Past::default()
        };
        past.write(&folder.join("history.db"));
    }
    let served = Served::in_folder(folder);
    served.process.wait_for_printed(1);
    let shown = page(&served, "/month/2025-06").body;
    let before = shown.split_once("A year before").expect("there is one");
    assert!(before.0.ends_with("href=\"../month/2024-06\">"), "{shown}");
    let told = served
        .get("/api/v1/report?period=month&date=2024-06")
        .json();
    let consumption = told["sum"]["consumption"].as_f64().expect("some");
    let near = figures(consumption, "kWh").map(|figure| figure.replace("dd>", "td>"));
    assert!(
        near.iter().any(|figure| before.1.contains(figure)),
        "{near:?}"
    );
    // The API and the command compare with the same figures.
    let compared = served
        .get("/api/v1/report?period=month&date=2025-06&compare=true")
        .json();
    assert_eq!(compared["year_before"], told["sum"], "{compared}");
    let alone = served
        .get("/api/v1/report?period=month&date=2025-06")
        .json();
    assert!(alone.get("year_before").is_none(), "{alone}");
    let first = page(&served, "/month/2024-06").body;
    assert!(!first.contains("A year before"), "{first}");
    served.process.stop().expect_code(0);
}

#[test]
fn a_quantity_has_a_line_with_its_unit_and_meaning_over_every_period() {
    let roof = Roof::new(1);
    let served = with_past(&roof, SECTIONS);
    served.process.wait_for_printed(1);
    let inverter = page(&served, "/inverter/roof1").body;
    assert!(
        inverter.contains("href=\"../day?quantity=pv1_voltage&amp;inverter=roof1\""),
        "{inverter}"
    );
    assert!(!inverter.contains("quantity=work_mode"), "a mode has none");
    for period in [
        "/day/2026-06-12",
        "/week/2026-06-12",
        "/month/2026-06",
        "/year/2026",
        "/total",
    ] {
        let path = format!("{period}?quantity=pv1_voltage");
        let shown = page(&served, &path).body;
        assert!(shown.contains("Voltage of PV string 1"), "{path} {shown}");
        assert_eq!(shown.matches("<svg class=\"chart").count(), 2, "{path}");
        assert!(
            shown.contains(">V</text>") && shown.contains("data-tips=\"[{"),
            "{path}"
        );
        assert!(
            shown.contains("quantity=pv1_voltage"),
            "neighbours and files: {path}"
        );
        assert!(shown.len() < 300_000, "{path} has {} bytes", shown.len());
    }
    // What the API tells of the day, between which values it was.
    let told = served
        .get("/api/v1/readings?from=2026-06-12&to=2026-06-12&resolution=5min&fields=pv1_voltage")
        .json();
    let buckets = told.as_array().expect("buckets").iter();
    let highest = buckets.filter_map(|bucket| bucket["pv1_voltage"]["max"].as_f64());
    let highest = highest.fold(0.0, f64::max);
    let day = "/day/2026-06-12?quantity=pv1_voltage";
    let shown = page(&served, day).body;
    assert!(
        shown.contains(&format!("<dd>{highest:.1} V</dd>")),
        "{highest} {shown}"
    );
    let csv = served.get("/day/2026-06-12.csv?quantity=pv1_voltage");
    let disposition = &csv.headers["content-disposition"];
    assert!(
        disposition.ends_with("\"kstar-day-2026-06-12-pv1_voltage.csv\""),
        "{disposition}"
    );
    assert!(
        csv.body.starts_with("begin,end,inverter,mean,min,max\r\n"),
        "{}",
        csv.body
    );
    assert_eq!(
        csv.body.lines().count() - 1,
        told.as_array().expect("buckets").len()
    );
    let svg = served.get("/day/2026-06-12.svg?quantity=pv1_voltage").body;
    assert!(svg.contains("PV1 voltage, Friday 12 June 2026"), "{svg}");

    // Of a counter it is what was counted since the day began.
    let report = served
        .get("/api/v1/report?period=day&date=2026-06-12")
        .json();
    let energy = report["sum"]["production"].as_f64().expect("a sum");
    let counted = page(&served, "/day/2026-06-12?quantity=pv_energy_total").body;
    let near = [energy - 0.001, energy, energy + 0.001].map(|kwh| format!("<dd>{kwh:.3} kWh</dd>"));
    assert!(
        near.iter().any(|figure| counted.contains(figure)),
        "{near:?} {counted}"
    );

    // A day without a reading, and what is no quantity or has no line.
    let nothing = page(&served, "/day/2026-06-01?quantity=pv1_voltage").body;
    assert!(nothing.contains("href=\"../day/2026-06-01\""), "{nothing}");
    for name in ["work_mode", "nonsense", "%3Cscript%3E", "errors"] {
        let answer = page(&served, &format!("/day/2026-06-12?quantity={name}"));
        assert_eq!(answer.status, 404, "{name}");
        assert!(!answer.body.contains("<script>"), "{}", answer.body);
    }
    served.process.stop().expect_code(0);
}

#[test]
fn the_collector_shows_its_log_and_the_past_calls_inverters_by_their_titles() {
    let roof = Roof::new(2);
    let config = roof.config(SECTIONS);
    let config = config.replace(
        "name = \"roof1\"",
        "name = \"roof1\"\ntitle = \"South roof\"",
    );
    let served = Served::in_folder(Folder::with_config(&config));
    served.process.wait_for_printed(4);
    let log = page(&served, "/collector").body;
    for text in [
        "Latest lines of the log",
        "polling inverter=&quot;roof1&quot;",
        "HTTP is listening",
    ] {
        assert!(log.contains(text), "{text} in {log}");
    }
    wait_until("readings of both", || {
        let past = page(&served, "/day").body;
        past.contains("<option value=\"roof1\">South roof</option>")
            && past.contains("<option value=\"roof2\">roof2</option>")
    });
    let line = page(&served, "/day?quantity=grid_voltage").body;
    assert!(line.contains(">South roof</li>"), "{line}");
    served.process.stop().expect_code(0);
}

#[test]
fn what_an_owner_calls_an_inverter_is_shown_as_it_is_written() {
    let roof = Roof::new(1);
    let title = "name = \"roof1\"\ntitle = \"<script>alert(1)</script> & 'Süd'\"";
    let config = roof.config(SECTIONS).replace("name = \"roof1\"", title);
    let served = Served::in_folder(Folder::with_config(&config));
    served.process.wait_for_printed(1);
    for path in ["/", "/inverter/roof1"] {
        let answer = page(&served, path);
        is_page(&answer);
        let shown = answer.body;
        let escaped = "&lt;script&gt;alert(1)&lt;/script&gt; &amp; 'Süd'";
        assert!(shown.contains(escaped), "{path} {shown}");
        assert!(!shown.contains("<script>"), "{path} {shown}");
    }
    served.process.stop().expect_code(0);
}
