//! [`measures!`](crate::measures!): what a crate does against the failures of small models, each a switch that its tests turn off.

/// Makes the crate's `Measure`, with a variant for each counter-measure. Its code asks `Measure::X.is_on()` in one place for each.
///
/// In a product all are on, and nothing is left of the question. A test of the same crate runs a scenario as it is and in
/// `Measure::X.off(…)`: what comes out differs, or the test does not test the measure.
#[macro_export]
macro_rules! measures {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// What this crate does against the failures of small models. `docs/models.md` lists them by their numbers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Measure {
            $($(#[$doc])+ $name,)+
        }

        impl Measure {
            /// Whether it is taken: always, but in a test that looks at what happens without it.
            #[cfg(not(test))]
            #[inline(always)]
            pub(crate) const fn is_on(self) -> bool {
                true
            }

            #[cfg(test)]
            pub(crate) fn is_on(self) -> bool {
                OFF.get() != Some(self)
            }

            /// Runs something without this measure, on this thread.
            #[cfg(test)]
            pub(crate) fn off<T>(self, run: impl FnOnce() -> T) -> T {
                struct Back(Option<Measure>);
                impl Drop for Back {
                    fn drop(&mut self) {
                        OFF.set(self.0);
                    }
                }
                let _back = Back(OFF.replace(Some(self)));
                run()
            }
        }

        #[cfg(test)]
        ::std::thread_local! {
            static OFF: ::std::cell::Cell<Option<Measure>> = const { ::std::cell::Cell::new(None) };
        }
    };
}

#[cfg(test)]
mod tests {
    measures! {
        /// One.
        One,
        /// Another.
        Other,
    }

    fn on() -> (bool, bool) {
        (Measure::One.is_on(), Measure::Other.is_on())
    }

    #[test]
    fn one_is_off_while_its_closure_runs_on_this_thread() {
        assert_eq!(on(), (true, true));
        assert_eq!(Measure::One.off(on), (false, true));
        assert_eq!(Measure::Other.off(|| Measure::One.off(on)), (false, true));
        let elsewhere = Measure::One.off(|| std::thread::spawn(on).join().unwrap());
        assert_eq!(elsewhere, (true, true));
        let panicked = std::panic::catch_unwind(|| Measure::Other.off(|| panic!("as it should")));
        assert!(panicked.is_err());
        assert_eq!(on(), (true, true));
    }
}
