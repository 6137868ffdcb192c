//! The functions and constants of the calculator.

use std::f64::consts;

use super::number::Number::{self, Int, Real};
use super::number::rounded;

/// The names of all functions, as a model is told them.
pub const NAMES: [&str; 25] = [
    "sqrt", "cbrt", "abs", "round", "floor", "ceil", "trunc", "min", "max", "ln", "log10", "log2",
    "log", "exp", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "hypot", "pow", "deg",
    "rad",
];

/// Most decimal places that can be rounded to.
const MAX_PLACES: i128 = 15;

/// The constant of this name, in lower case.
pub fn constant(name: &str) -> Option<Number> {
    match name {
        "pi" | "π" => Some(Real(consts::PI)),
        "e" => Some(Real(consts::E)),
        "tau" => Some(Real(consts::TAU)),
        _ => None,
    }
}

/// The value of a function, by its name in lower case.
pub fn call(name: &str, values: &[Number]) -> Result<Number, String> {
    let result = match (name, values) {
        ("min", [first, rest @ ..]) => {
            rest.iter().fold(
                *first,
                |least, n| if n.real() < least.real() { *n } else { least },
            )
        }
        ("max", [first, rest @ ..]) => {
            rest.iter().fold(
                *first,
                |most, n| if n.real() > most.real() { *n } else { most },
            )
        }
        ("abs", [Int(n)]) => Int(n.saturating_abs()),
        ("round" | "floor" | "ceil" | "trunc", [Int(n)]) => Int(*n),
        ("round", [x]) => Real(rounded(x.real()).round()).whole(),
        ("round", [x, places]) => round(*x, *places)?,
        ("pow", [x, exponent]) => x.pow(*exponent),
        (_, [x]) => one(name, x.real()).ok_or_else(|| refusal(name, 1))?,
        (_, [x, y]) => two(name, x.real(), y.real()).ok_or_else(|| refusal(name, 2))?,
        (_, others) => return Err(refusal(name, others.len())),
    };
    if result.real().is_finite() {
        Ok(result)
    } else {
        Err(format!("{name} has no value here"))
    }
}

fn one(name: &str, x: f64) -> Option<Number> {
    Some(match name {
        "sqrt" => Real(x.sqrt()).whole(),
        "cbrt" => Real(x.cbrt()).whole(),
        "abs" => Real(x.abs()),
        "floor" => Real(rounded(x).floor()).whole(),
        "ceil" => Real(rounded(x).ceil()).whole(),
        "trunc" => Real(rounded(x).trunc()).whole(),
        "ln" => Real(x.ln()),
        "log10" => Real(x.log10()),
        "log2" => Real(x.log2()),
        "exp" => Real(x.exp()),
        "sin" => Real(near_zero(x.sin())),
        "cos" => Real(near_zero(x.cos())),
        "tan" => Real(near_zero(x.tan())),
        "asin" => Real(x.asin()),
        "acos" => Real(x.acos()),
        "atan" => Real(x.atan()),
        "deg" => Real(x.to_degrees()),
        "rad" => Real(x.to_radians()),
        _ => return None,
    })
}

fn two(name: &str, x: f64, y: f64) -> Option<Number> {
    Some(match name {
        "log" => Real(x.ln() / y.ln()),
        "atan2" => Real(x.atan2(y)),
        "hypot" => Real(x.hypot(y)).whole(),
        _ => return None,
    })
}

/// What a multiple of pi, which no float is, leaves of a zero.
fn near_zero(x: f64) -> f64 {
    if x.abs() < 1e-15 { 0.0 } else { x }
}

fn round(x: Number, places: Number) -> Result<Number, String> {
    let Int(places) = places.whole() else {
        return Err("round takes a whole number of places".to_owned());
    };
    if places.abs() > MAX_PLACES {
        return Err(format!("round takes at most {MAX_PLACES} places"));
    }
    if let (Int(_), 0..) = (x, places) {
        return Ok(x);
    }
    let factor = 10_f64.powi(i32::try_from(places.abs()).unwrap_or(0));
    let shifted = if places < 0 {
        x.real() / factor
    } else {
        x.real() * factor
    };
    let whole = rounded(shifted).round();
    Ok(Real(if places < 0 {
        whole * factor
    } else {
        whole / factor
    })
    .whole())
}

/// Why no function takes this many values.
fn refusal(name: &str, found: usize) -> String {
    let takes = match name {
        _ if !NAMES.contains(&name) => return format!("there is no function `{name}`"),
        "log" if found == 1 => {
            return "log takes 2 values, the second is the base; there are also ln and log10"
                .to_owned();
        }
        "min" | "max" => "1 or more values",
        "round" => "1 or 2 values",
        "log" | "atan2" | "hypot" | "pow" => "2 values",
        _ => "1 value",
    };
    format!("{name} takes {takes}, not {found}")
}
