//! When is a token good? Its times (RFC 7519 §4.1.4 to §4.1.6) against a clock that is handed in.

/// NumericDates of a token: seconds since the epoch, possibly with a fraction. `None`: absent, or not a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Life {
    /// Not accepted from this second on.
    pub exp: Option<f64>,
    /// Not accepted before.
    pub nbf: Option<f64>,
    /// When it was made.
    pub iat: Option<f64>,
    /// Is `nbf` there and not a number?
    pub nbf_is_odd: bool,
    /// Is `iat` there and not a number?
    pub iat_is_odd: bool,
}

/// What to hold a token's times to.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct LifeRules {
    /// It must have an `exp` that is to come.
    pub exp: bool,
    /// It must have an `nbf` that is not to come.
    pub nbf: bool,
    /// It must have an `iat` that is not to come.
    pub iat: bool,
    /// `nbf` and `iat`, where it has them, must not be to come.
    pub present: bool,
    /// Its `exp` may be at most so many seconds ahead; 0 means any.
    pub ahead_s_max: u32,
    /// So many seconds may the clock of whoever made it be wrong.
    pub skew_s: u32,
}

/// What is wrong with a token's times: a message per claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LifeFaults {
    /// About `exp`.
    pub exp: Option<&'static str>,
    /// About `nbf`.
    pub nbf: Option<&'static str>,
    /// About `iat`.
    pub iat: Option<&'static str>,
}

impl Life {
    /// Holds the times to `rules` at `now_s`. O(1).
    ///
    /// # Errors
    /// Every fault at once; the length of a life is only looked at when nothing else is wrong.
    pub fn check(self, rules: LifeRules, now_s: u64) -> Result<(), LifeFaults> {
        // Exact: seconds stay below 2^53 for 285 million years.
        let (now, skew) = (now_s as f64, f64::from(rules.skew_s));
        let mut faults = LifeFaults::default();
        if rules.exp {
            faults.exp = match self.exp {
                None => Some("must be a number"),
                Some(exp) if exp + skew <= now => Some("token expired"),
                Some(_) => None,
            };
        }
        let begun = |time: Option<f64>, must: bool| match time {
            None => must.then_some("must be a number"),
            Some(time) if time - skew > now => Some("token not valid yet"),
            Some(_) => None,
        };
        if rules.nbf || rules.present {
            faults.nbf = begun(self.nbf, rules.nbf || self.nbf_is_odd);
        }
        if rules.iat || rules.present {
            faults.iat = begun(self.iat, rules.iat || self.iat_is_odd);
        }
        if faults == LifeFaults::default() && rules.ahead_s_max > 0 {
            let within = self.exp.is_some_and(|exp| exp - now <= f64::from(rules.ahead_s_max));
            faults.exp = (!within).then_some("exceeds maximum allowed expiration");
        }
        if faults == LifeFaults::default() {
            Ok(())
        } else {
            Err(faults)
        }
    }
}
