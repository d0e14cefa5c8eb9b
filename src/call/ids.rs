//! The ids that we choose for media channels and bridges: `diglot-<app>-<run>-<n>-media`.
//!
//! The application's name tells our leftovers from those of another gateway on the same Asterisk;
//! the run, a random number of this process, tells a new call from a leftover of a killed process.

/// Hexadecimal digits of the run.
const RUN_DIGITS: usize = 16;

/// Makes and recognises ids of one application.
#[derive(Debug)]
pub(super) struct Ids {
    /// `diglot-<app>-`
    prefix: String,
    run: u64,
    /// Calls named so far.
    count: u64,
}

/// The two ids of one call.
#[derive(Debug)]
pub(super) struct CallIds {
    pub(super) media: String,
    pub(super) bridge: String,
}

impl Ids {
    pub(super) fn new(app: &str, run: u64) -> Self {
        Self {
            prefix: format!("diglot-{app}-"),
            run,
            count: 0,
        }
    }

    /// Ids that were never used before.
    pub(super) fn next(&mut self) -> CallIds {
        self.count += 1;
        let stem = format!("{}{:016x}-{}", self.prefix, self.run, self.count);
        CallIds {
            media: format!("{stem}-media"),
            bridge: format!("{stem}-bridge"),
        }
    }

    /// Whether a gateway of our application chose this id, in this run or an earlier one.
    ///
    /// Strict, because `diglot-a-` also begins the ids of an application named `a-b`.
    pub(super) fn is_ours(&self, id: &str) -> bool {
        let Some(rest) = id.strip_prefix(&self.prefix) else {
            return false;
        };
        let mut parts = rest.split('-');
        let (run, count, kind) = (parts.next(), parts.next(), parts.next());
        let is_run = |text: &str| {
            text.len() == RUN_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        let is_count = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        run.is_some_and(is_run)
            && count.is_some_and(is_count)
            && matches!(kind, Some("media" | "bridge"))
            && parts.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: leftovers of any run are recognised, and nothing else is ever deleted as one.
    #[test]
    fn only_ids_of_our_application_are_ours() {
        let mut ids = Ids::new("a", 1);
        let CallIds { media, bridge } = ids.next();
        assert_eq!(media, "diglot-a-0000000000000001-1-media");
        let another_run = Ids::new("a", u64::MAX);
        assert!(another_run.is_ours(&media));
        assert!(another_run.is_ours(&bridge));

        let foreign = Ids::new("a-b", 1).next().media;
        assert!(
            !another_run.is_ours(&foreign),
            "an application whose name ours begins"
        );
        for id in ["", "diglot-a-", "1795330596.122", "diglot-a-1-1-media"] {
            assert!(!another_run.is_ours(id), "{id}");
        }
        assert!(!another_run.is_ours(&format!("{media}-x")));
    }
}
