//! `calculator`: works out an arithmetic expression.

mod functions;
mod number;
mod parser;

use serde_json::{Value, json};

use super::Builtin;
use crate::spec::SpecError;
use crate::tool::ToolError;

/// Most characters of an expression.
const MAX_LENGTH: usize = 1000;

pub fn tool() -> Result<Builtin, SpecError> {
    let description = format!(
        "Works out an arithmetic expression, such as (3.5 + 4) * 2^10 / sqrt(2). Operators: + - * / ^ and % (remainder). \
         Functions: {}. Angles are in radians. Constants: pi, e, tau.",
        functions::NAMES.join(", ")
    );
    let schema = json!({
        "type": "object",
        "properties": {"expression": {
            "type": "string", "minLength": 1, "maxLength": MAX_LENGTH, "description": "The expression, without = and units"
        }},
        "required": ["expression"],
        "additionalProperties": false,
    });
    Builtin::new("calculator", &description, &schema, run)
}

fn run(input: &Value) -> Result<Value, ToolError> {
    let expression = input
        .get("expression")
        .and_then(Value::as_str)
        .unwrap_or("");
    match parser::evaluate(expression) {
        Ok(result) => Ok(json!(result.to_string())),
        Err(fault) => Err(ToolError::new(fault.to_string())),
    }
}

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at character {at}")]
struct Fault {
    /// The character, from 1.
    at: usize,
    what: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(expression: &str) -> String {
        match run(&json!({"expression": expression})) {
            Ok(Value::String(result)) => result,
            Ok(other) => other.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[track_caller]
    fn all(cases: &[(&str, &str)]) {
        for (expression, expected) in cases {
            assert_eq!(of(expression), *expected, "{expression}");
        }
    }

    #[test]
    fn arithmetic() {
        all(&[
            ("1 + 2 * 3", "7"),
            ("(1 + 2) * 3", "9"),
            ("2^3^2", "512"),
            ("-2^2", "-4"),
            ("2^-1", "0.5"),
            ("2**10", "1024"),
            ("10 - 4 - 3", "3"),
            ("7 / 2", "3.5"),
            ("6 / 2", "3"),
            ("7 % 3", "1"),
            ("-7 % 3", "2"),
            ("7.5 % 2", "1.5"),
            ("--5", "5"),
            (".5 + 1e3", "1000.5"),
            ("3 × 4 ÷ 6 − 1", "1"),
        ]);
    }

    #[test]
    fn results_are_exact_enough() {
        all(&[
            ("0.1 + 0.2", "0.3"),
            ("19.99 * 3", "59.97"),
            ("123456789 * 987654321", "121932631112635269"),
            ("2^64", "18446744073709551616"),
            ("2^64 - 2^64 + 1", "1"),
            ("2^200", "1.60693804425899e60"),
            ("10 / 3", "3.33333333333333"),
            ("1e-9 / 2", "5e-10"),
            ("round(1.005, 2)", "1.01"),
            ("sin(pi)", "0"),
            ("0 * -1.5", "0"),
        ]);
    }

    #[test]
    fn functions_and_constants() {
        all(&[
            ("sqrt(16) + cbrt(27)", "7"),
            ("abs(-3) + floor(2.7) + ceil(2.1) + trunc(-2.7)", "6"),
            ("round(2.5) + round(-2.5)", "0"),
            ("round(1234, -2)", "1200"),
            ("min(3, 1, 2) + max(3, 1, 2)", "4"),
            ("ln(e) + log10(1000) + log2(8) + log(81, 3)", "11"),
            ("exp(0) + cos(0) + tan(0)", "2"),
            ("deg(asin(1)) + rad(180) - pi", "90"),
            ("atan2(1, 1) * 4 - pi", "0"),
            ("SQRT(4) * Pi / tau", "1"),
            ("hypot(3, 4)", "5"),
        ]);
    }

    #[test]
    fn faults_say_what_and_where() {
        all(&[
            (
                "",
                "the expression ends where a value should be at character 1",
            ),
            (
                "1 +",
                "the expression ends where a value should be at character 4",
            ),
            ("1 + * 2", "`*` where a value should be at character 5"),
            ("2 (3)", "`(` where an operator should be at character 3"),
            ("(1 + 2", "`)` is missing at character 7"),
            ("1 / (2 - 2)", "division by zero at character 3"),
            ("5 % 0", "division by zero at character 3"),
            (
                "50 %",
                "% is the remainder and needs a value behind it (for percent, divide by 100) at character 4",
            ),
            ("sqrt(-4)", "sqrt has no value here at character 1"),
            ("ln(0)", "ln has no value here at character 1"),
            (
                "log(100)",
                "log takes 2 values, the second is the base; there are also ln and log10 at character 1",
            ),
            ("10^400 * 1.0", "the result is too large at character 3"),
            ("sine(1)", "there is no function `sine` at character 1"),
            ("x + 1", "there is no constant `x` at character 1"),
            ("sqrt(1, 2)", "sqrt takes 1 value, not 2 at character 1"),
            ("min()", "min takes 1 or more values, not 0 at character 1"),
            ("1.2.3", "`.` where an operator should be at character 4"),
            ("ä + 1", "`ä` where a value should be at character 1"),
            ("1 = 1", "`=` where an operator should be at character 3"),
        ]);
    }

    #[test]
    fn deep_and_long_expressions_are_refused() {
        let deep = "(".repeat(500);
        assert_eq!(of(&deep), "it is nested too deeply at character 66");
        assert_eq!(
            of(&"-".repeat(900)),
            "it is nested too deeply at character 66"
        );
        assert_eq!(
            of(&"2^".repeat(400)),
            "it is nested too deeply at character 131"
        );
        let long = format!("1{}", "+1".repeat(499));
        assert_eq!(of(&long), "500");
        let tool = tool().unwrap();
        let too_long = json!({"expression": "1".repeat(1001)});
        assert!(tool.spec.checker().check(&too_long).is_err());
    }

    /// A fully bracketed expression and its value.
    fn integers() -> impl Strategy<Value = (String, i128)> {
        let leaf = (-99..99i128).prop_map(|n| (n.to_string(), n));
        leaf.prop_recursive(4, 16, 2, |inner| {
            let operator = prop::sample::select(vec!['+', '-', '*']);
            (inner.clone(), operator, inner).prop_map(|((one, a), operator, (other, b))| {
                let value = match operator {
                    '+' => a + b,
                    '-' => a - b,
                    _ => a * b,
                };
                (format!("({one} {operator} {other})"), value)
            })
        })
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "[-+*/%^()., 0-9a-zäπ]{0,60}|.{0,60}|((sqrt|ln|min|round|log|tan|exp)\\(|[0-9]{1,3}|[-+*/%^),]){0,20}") {
            of(&text);
        }

        #[test]
        fn expressions_of_integers_are_exact((text, value) in integers()) {
            prop_assert_eq!(of(&text), value.to_string());
        }

        #[test]
        fn sums_and_products_are_those_of_integers(a in -1_000_000_000_000i128..1_000_000_000_000, b in -1_000_000_000_000i128..1_000_000_000_000, c in 1..1_000_000i128) {
            prop_assert_eq!(of(&format!("{a} * {b} + {c}")), (a * b + c).to_string());
            prop_assert_eq!(of(&format!("({a} - {b}) * {c}")), ((a - b) * c).to_string());
            prop_assert_eq!(of(&format!("{a} % {c}")), a.rem_euclid(c).to_string());
            prop_assert_eq!(of(&format!("{a} * {c} / {c}")), a.to_string());
        }
    }
}
