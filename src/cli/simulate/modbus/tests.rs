use clap::Parser;
use kstar_simulator::modbus::faults::Fault;

use super::*;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    args: SimulateArgs,
}

fn parse(words: &[&str]) -> SimulateArgs {
    let words = [&["simulate", "--listen", "127.0.0.1:0"], words].concat();
    Command::try_parse_from(words).expect("arguments").args
}

fn config_of(words: &[&str]) -> Config {
    let args = parse(words);
    let family = args.family.modbus().expect("a Modbus family");
    config(&args, family, None, 0).expect("a config")
}

async fn output_of(words: &[&str]) -> Result<String, String> {
    let mut out = Vec::new();
    super::super::run(parse(words), &mut out, std::future::ready(()))
        .await
        .map_err(|error| error.to_string())?;
    Ok(String::from_utf8(out).expect("text"))
}

#[test]
fn each_family_is_reached_as_it_usually_is_or_as_one_says() {
    for (words, via, unit) in [
        (&["--family", "kstar-hybrid"][..], Via::Solarman, 1),
        (&["--family", "goodwe-et"], Via::Udp, 247),
        (&["--family", "goodwe-dt"], Via::Udp, 127),
        (
            &[
                "--family",
                "goodwe-et",
                "--via",
                "modbus-tcp",
                "--unit",
                "245",
            ],
            Via::ModbusTcp,
            245,
        ),
        (
            &["--family", "kstar-hybrid", "--via", "rtu-over-tcp"],
            Via::RtuOverTcp,
            1,
        ),
    ] {
        let config = config_of(words);
        assert_eq!((config.via, config.unit), (via, unit), "{words:?}");
        assert_eq!(config.plant.phases, 3);
    }
}

#[test]
fn every_option_reaches_the_machine() {
    let config = config_of(&[
        "--family",
        "kstar-hybrid",
        "--phases",
        "1",
        "--logger-serial",
        "1712345678",
        "--meter",
        "none",
        "--no-battery",
        "--heartbeat",
        "60s",
        "--push",
        "5m",
        "--reset",
        "3h",
        "--faults",
        "heartbeat-before=0.5",
        "--latency",
        "390ms",
        "--start",
        "06:30",
        "--speed",
        "60",
    ]);
    assert_eq!(config.plant.phases, 1);
    assert_eq!(config.logger_serial, 1_712_345_678);
    assert_eq!(
        (config.plant.meter, config.plant.battery),
        (Meter::None, None)
    );
    let stick = config.stick;
    assert_eq!(stick.heartbeat_every, Some(Duration::from_secs(60)));
    assert_eq!(stick.push_every, Some(Duration::from_secs(300)));
    assert_eq!(stick.reset_every, Some(Duration::from_secs(10_800)));
    assert!((config.faults.probability(Fault::HeartbeatBefore) - 0.5).abs() < 1e-12);
    assert_eq!(config.latency, Duration::from_millis(390));
    assert_eq!(config.begins.time(), jiff::civil::time(6, 30, 0, 0));
    let second = config_of(&[
        "--family",
        "goodwe-et",
        "--second-battery",
        "--meter",
        "125",
    ]);
    assert!(second.plant.second_battery);
    assert_eq!(second.plant.meter, Meter::Registers125);
}

#[tokio::test]
async fn what_does_not_belong_to_the_family_is_told() {
    for (words, advice) in [
        (&["--via", "solarman"][..], "--family kstar-hybrid"),
        (&["--second-battery"], "--family kstar-hybrid"),
        (
            &["--family", "goodwe-et", "--variant", "gw-95"],
            "--family kse",
        ),
        (
            &["--family", "goodwe-et", "--no-device-info"],
            "--family kse",
        ),
        (&["--family", "goodwe-et", "--phases", "2"], "--phases 3"),
        (
            &["--family", "goodwe-et", "--faults", "heartbeat=0.1"],
            "there are all, drop, delay, truncate",
        ),
        (&["--faults", "heartbeat=0.1"], "duplicate"),
    ] {
        let error = output_of(words).await.unwrap_err();
        assert!(error.contains(advice), "{words:?}: {error}");
    }
}

#[tokio::test]
async fn the_output_begins_with_a_configuration_and_ends_with_the_counts() {
    let words = [
        "--family",
        "kstar-hybrid",
        "--inverters",
        "2",
        "--unit",
        "3",
    ];
    let output = output_of(&words).await.expect("a simulation");
    assert!(output.starts_with("# KS10KT"), "{output}");
    assert!(output.contains(", unit 3, logger 27"), "{output}");
    let (configuration, counts) = output.split_once("\nsimulated1\n").expect("two parts");
    let table: toml::Table = configuration.parse().expect("TOML");
    let inverters = table["inverter"].as_array().expect("a list");
    assert_eq!(inverters.len(), 2);
    assert_eq!(inverters[1]["family"].as_str(), Some("kstar-hybrid"));
    assert_eq!(inverters[1]["via"].as_str(), Some("solarman"));
    assert_eq!(inverters[1]["unit"].as_integer(), Some(3));
    assert!(
        counts.contains("asked in all                                 0\n"),
        "{counts}"
    );
}
