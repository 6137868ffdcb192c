//! A number: an integer as long as it can be one, else a 64-bit float.

use std::fmt;

/// A number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    Int(i128),
    Real(f64),
}

use Number::{Int, Real};

impl Number {
    /// As a float.
    pub fn real(self) -> f64 {
        match self {
            Int(n) => n as f64,
            Real(x) => x,
        }
    }

    /// As an integer, when it is one that a float holds exactly.
    pub fn whole(self) -> Self {
        match self {
            Real(x) if x.fract() == 0.0 && x.abs() <= EXACT => Int(x as i128),
            other => other,
        }
    }

    pub fn add(self, other: Self) -> Self {
        both(self, other, i128::checked_add, |a, b| a + b)
    }

    pub fn sub(self, other: Self) -> Self {
        both(self, other, i128::checked_sub, |a, b| a - b)
    }

    pub fn mul(self, other: Self) -> Self {
        both(self, other, i128::checked_mul, |a, b| a * b)
    }

    pub fn neg(self) -> Self {
        Int(0).sub(self)
    }

    /// The quotient; nothing by zero.
    pub fn div(self, other: Self) -> Option<Self> {
        let exact = |a: i128, b: i128| match a.checked_rem(b) {
            Some(0) => a.checked_div(b),
            _ => None,
        };
        (other.real() != 0.0).then(|| both(self, other, exact, |a, b| a / b))
    }

    /// The remainder with the sign of the divisor, as of Python; nothing by zero.
    pub fn rem(self, other: Self) -> Option<Self> {
        let floored = |a: i128, b: i128| {
            let rest = a.checked_rem(b)?;
            Some(if rest != 0 && (rest < 0) != (b < 0) {
                rest + b
            } else {
                rest
            })
        };
        (other.real() != 0.0).then(|| both(self, other, floored, |a, b| a - b * (a / b).floor()))
    }

    pub fn pow(self, exponent: Self) -> Self {
        let exact = |a: i128, b: i128| a.checked_pow(u32::try_from(b).ok()?);
        both(self, exponent, exact, f64::powf)
    }
}

/// Up to here a float holds every integer.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// On integers when both are and the result is one, else on floats.
fn both(
    one: Number,
    other: Number,
    ints: impl Fn(i128, i128) -> Option<i128>,
    reals: impl Fn(f64, f64) -> f64,
) -> Number {
    if let (Int(a), Int(b)) = (one, other)
        && let Some(n) = ints(a, b)
    {
        return Int(n);
    }
    Real(reals(one.real(), other.real()))
}

/// Without the last digits of a float, where the error of its arithmetic stands.
pub fn rounded(x: f64) -> f64 {
    format!("{x:.14e}").parse().unwrap_or(x)
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let x = match self {
            Int(n) => return write!(f, "{n}"),
            Real(x) => rounded(*x),
        };
        if x == 0.0 {
            write!(f, "0")
        } else if (1e-6..1e15).contains(&x.abs()) {
            write!(f, "{x}")
        } else {
            write!(f, "{x:e}")
        }
    }
}
