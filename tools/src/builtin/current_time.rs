//! `current_time`: the date and time now, in any time zone.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use serde_json::{Value, json};

use super::Builtin;
use crate::spec::SpecError;
use crate::tool::ToolError;

pub fn tool() -> Result<Builtin, SpecError> {
    let schema = json!({
        "type": "object",
        "properties": {"time_zone": {
            "type": "string",
            "description": "Name of a time zone such as Europe/Berlin, or an offset such as +02:00. UTC if left out."
        }},
        "required": [],
        "additionalProperties": false,
    });
    Builtin::new(
        "current_time",
        "The date, time and day of the week now, in UTC or in a time zone.",
        &schema,
        |input| at(Timestamp::now(), input),
    )
}

fn at(now: Timestamp, input: &Value) -> Result<Value, ToolError> {
    let asked = input
        .get("time_zone")
        .and_then(Value::as_str)
        .unwrap_or("UTC");
    let zone = zone(asked.trim()).ok_or_else(|| {
        ToolError::new(format!(
            "There is no time zone {asked:?}. Give a name of the IANA database, such as Europe/Berlin, or an offset such as +02:00."
        ))
    })?;
    let local = now.to_zoned_datetime(zone);
    Ok(json!({
        "time": local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        "weekday": local.strftime("%A").to_string(),
        "time_zone": asked.trim(),
        "unix_seconds": now.as_second(),
    }))
}

fn zone(name: &str) -> Option<TimeZone> {
    if matches!(name, "" | "Z" | "z") || name.eq_ignore_ascii_case("utc") {
        return Some(TimeZone::UTC);
    }
    offset(name)
        .map(TimeZone::fixed)
        .or_else(|| TimeZone::get(name).ok())
}

/// `+02:00`, `-0530`, `+2`, also behind `UTC` or `GMT`.
fn offset(text: &str) -> Option<Offset> {
    let upper = text.to_ascii_uppercase();
    let text = upper
        .strip_prefix("UTC")
        .or_else(|| upper.strip_prefix("GMT"))
        .unwrap_or(&upper);
    let (sign, rest) = match text.strip_prefix('+') {
        Some(rest) => (1, rest),
        None => (-1, text.strip_prefix('-')?),
    };
    let (hours, minutes) = match rest.split_once(':') {
        Some(parts) => parts,
        None if rest.len() == 4 => rest.split_at_checked(2)?,
        None => (rest, "0"),
    };
    let number = |text: &str, most: i32| -> Option<i32> {
        let digits = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|n| digits && *n <= most)
    };
    let seconds = number(hours, 23)? * 3600 + number(minutes, 59)? * 60;
    Offset::from_seconds(sign * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(zone: &str) -> String {
        let now: Timestamp = "2026-01-31T23:30:05.9Z".parse().unwrap();
        match at(now, &json!({"time_zone": zone})) {
            Ok(said) => said["time"].as_str().unwrap().to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn without_a_zone_it_is_utc() {
        let now: Timestamp = "2026-01-31T23:30:05.9Z".parse().unwrap();
        let expected = json!({
            "time": "2026-01-31T23:30:05+00:00", "weekday": "Saturday", "time_zone": "UTC", "unix_seconds": 1_769_902_205,
        });
        assert_eq!(at(now, &json!({})), Ok(expected));
    }

    #[test]
    fn zones_by_name_need_nothing_of_the_machine() {
        assert_eq!(time("Europe/Berlin"), "2026-02-01T00:30:05+01:00");
        assert_eq!(time("asia/kolkata"), "2026-02-01T05:00:05+05:30");
        assert_eq!(time("America/New_York"), "2026-01-31T18:30:05-05:00");
    }

    #[test]
    fn zones_by_offset() {
        for zone in ["+02:00", "+0200", "+2", "UTC+2", "gmt+02"] {
            assert_eq!(time(zone), "2026-02-01T01:30:05+02:00", "{zone}");
        }
        assert_eq!(time("-03:30"), "2026-01-31T20:00:05-03:30");
    }

    #[test]
    fn other_zones_are_refused_with_what_is_accepted() {
        for zone in [
            "Berlin",
            "+25:00",
            "+2:3:4",
            "+-2",
            "+1é23",
            "Europe/Atlantis",
            "UTC+",
            "../../etc/passwd",
        ] {
            let start = format!("There is no time zone {zone:?}. Give a name");
            assert!(time(zone).starts_with(&start), "{zone}: {}", time(zone));
        }
    }
}
