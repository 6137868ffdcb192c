//! Reads an expression and works it out on the way. Operators, from the weakest: `+ -`, `* / %`, sign, `^` (from the right).

use super::number::Number::{self, Int, Real};
use super::{Fault, functions};

/// How deep brackets, signs and powers may stand in each other.
const MAX_DEPTH: usize = 64;

/// The value of an expression.
pub fn evaluate(expression: &str) -> Result<Number, Fault> {
    let mut parser = Parser {
        text: expression.chars().collect(),
        at: 0,
        depth: 0,
    };
    let value = parser.sum()?;
    match parser.peek() {
        None => Ok(value),
        Some(c) => Err(parser.fault(format!("`{c}` where an operator should be"))),
    }
}

struct Parser {
    text: Vec<char>,
    /// The next character.
    at: usize,
    depth: usize,
}

impl Parser {
    fn sum(&mut self) -> Result<Number, Fault> {
        let mut value = self.product()?;
        while let Some(operator) = self.take(&['+', '-', '−']) {
            let at = self.at;
            let other = self.product()?;
            let result = if operator == '+' {
                value.add(other)
            } else {
                value.sub(other)
            };
            value = finite(result, at)?;
        }
        Ok(value)
    }

    fn product(&mut self) -> Result<Number, Fault> {
        let mut value = self.signed()?;
        while let Some(operator) = self.take(&['*', '/', '%', '×', '·', '÷']) {
            let at = self.at;
            if operator == '%' && matches!(self.peek(), None | Some(')' | ',' | '*' | '/' | '+')) {
                let what =
                    "% is the remainder and needs a value behind it (for percent, divide by 100)";
                return Err(fault(at, what));
            }
            let other = self.signed()?;
            let result = match operator {
                '/' | '÷' => value
                    .div(other)
                    .ok_or_else(|| fault(at, "division by zero"))?,
                '%' => value
                    .rem(other)
                    .ok_or_else(|| fault(at, "division by zero"))?,
                _ => value.mul(other),
            };
            value = finite(result, at)?;
        }
        Ok(value)
    }

    fn signed(&mut self) -> Result<Number, Fault> {
        match self.take(&['-', '−', '+']) {
            Some('+') => self.deeper(Self::signed),
            Some(_) => self.deeper(Self::signed).map(Number::neg),
            None => self.power(),
        }
    }

    fn power(&mut self) -> Result<Number, Fault> {
        let base = self.value()?;
        if !self.take_power() {
            return Ok(base);
        }
        let at = self.at;
        let exponent = self.deeper(Self::signed)?;
        if base.real() == 0.0 && exponent.real() < 0.0 {
            return Err(fault(at, "division by zero"));
        }
        let result = base.pow(exponent);
        if result.real().is_nan() {
            return Err(fault(at, "a negative number has no such power"));
        }
        finite(result, at)
    }

    fn value(&mut self) -> Result<Number, Fault> {
        match self.peek() {
            None => Err(self.fault("the expression ends where a value should be")),
            Some('(') => {
                self.at += 1;
                let value = self.deeper(Self::sum)?;
                self.close()?;
                Ok(value)
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(c) if c.is_ascii_alphabetic() || c == 'π' => self.named(),
            Some(c) => Err(self.fault(format!("`{c}` where a value should be"))),
        }
    }

    fn number(&mut self) -> Result<Number, Fault> {
        let start = self.at;
        self.digits();
        let mut whole = true;
        if self.here() == Some('.') {
            whole = false;
            self.at += 1;
            self.digits();
        }
        if matches!(self.here(), Some('e' | 'E')) {
            let mantissa = self.at;
            self.at += 1;
            if matches!(self.here(), Some('+' | '-')) {
                self.at += 1;
            }
            if self.digits() {
                whole = false;
            } else {
                self.at = mantissa;
            }
        }
        let text: String = self
            .text
            .get(start..self.at)
            .unwrap_or_default()
            .iter()
            .collect();
        let exact = if whole {
            text.parse().ok().map(Int)
        } else {
            None
        };
        let value = exact.or_else(|| text.parse().ok().map(Real));
        let value = value.ok_or_else(|| fault(start + 1, format!("`{text}` is no number")))?;
        finite(value, start + 1)
    }

    fn named(&mut self) -> Result<Number, Fault> {
        let start = self.at + 1;
        let mut name = String::new();
        while let Some(c) = self
            .here()
            .filter(|c| c.is_ascii_alphanumeric() || matches!(c, 'π' | '_'))
        {
            name.push(c.to_ascii_lowercase());
            self.at += 1;
        }
        if self.take(&['(']).is_none() {
            return functions::constant(&name)
                .ok_or_else(|| fault(start, format!("there is no constant `{name}`")));
        }
        let mut values = Vec::new();
        if self.peek() != Some(')') {
            values.push(self.deeper(Self::sum)?);
            while self.take(&[',', ';']).is_some() {
                values.push(self.deeper(Self::sum)?);
            }
        }
        self.close()?;
        functions::call(&name, &values).map_err(|what| fault(start, what))
    }

    fn close(&mut self) -> Result<(), Fault> {
        match self.take(&[')']) {
            Some(_) => Ok(()),
            None => Err(self.fault("`)` is missing")),
        }
    }

    fn deeper(&mut self, read: fn(&mut Self) -> Result<Number, Fault>) -> Result<Number, Fault> {
        if self.depth == MAX_DEPTH {
            return Err(self.fault("it is nested too deeply"));
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    /// Passes over digits; whether there were any.
    fn digits(&mut self) -> bool {
        let start = self.at;
        while self.here().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        self.at > start
    }

    /// Passes over `^` or `**`.
    fn take_power(&mut self) -> bool {
        if self.take(&['^']).is_some() {
            return true;
        }
        let twice = self.peek() == Some('*') && self.text.get(self.at + 1) == Some(&'*');
        if twice {
            self.at += 2;
        }
        twice
    }

    /// Passes over the next character behind blanks, when it is one of these.
    fn take(&mut self, any: &[char]) -> Option<char> {
        let c = self.peek().filter(|c| any.contains(c))?;
        self.at += 1;
        Some(c)
    }

    /// The next character behind blanks.
    fn peek(&mut self) -> Option<char> {
        while self.here().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
        self.here()
    }

    fn here(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    /// A fault at the next character.
    fn fault(&self, what: impl Into<String>) -> Fault {
        fault(self.at + 1, what)
    }
}

fn fault(at: usize, what: impl Into<String>) -> Fault {
    Fault {
        at,
        what: what.into(),
    }
}

fn finite(value: Number, at: usize) -> Result<Number, Fault> {
    if value.real().is_finite() {
        Ok(value)
    } else {
        Err(fault(at, "the result is too large"))
    }
}
