//! Which of the packages on offer an installed one is upgraded to.

use std::cmp::Ordering;

use super::element::Element;
use super::selector::Named;
use crate::model::package_name::{self, compare_versions};

/// When an offer is taken, by its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// A higher one (`--lt`).
    #[default]
    Higher,
    /// A higher one or the same (`--leq`).
    HigherOrSame,
    /// The same (`--eq`).
    Same,
    /// Any (`--always`).
    Any,
}

impl Mode {
    fn takes(self, installed_to_offer: Ordering) -> bool {
        match self {
            Self::Higher => installed_to_offer.is_lt(),
            Self::HigherOrSame => installed_to_offer.is_le(),
            Self::Same => installed_to_offer.is_eq(),
            Self::Any => true,
        }
    }
}

/// Which of the offers replaces an installed package: of those with its name that the mode takes, none of a
/// worse priority, the one of the best priority and among these of the highest version, the first of several.
/// That may be what is installed. `priority` gives that of an offer as [`Element::choice_priority`] does.
///
/// # Errors
/// Those of `priority`.
pub fn choose<'o, P: Named, E>(
    installed: &Element,
    offers: &'o [P],
    mode: Mode,
    mut priority: impl FnMut(&P) -> Result<i64, E>,
) -> Result<Option<&'o P>, E> {
    if installed.is_kept() {
        return Ok(None);
    }
    let mut best: Option<(&P, i64)> = None;
    for offer in offers {
        let (name, version) = package_name::split(offer.name());
        if name != installed.package() || !mode.takes(compare_versions(installed.version(), version)) {
            continue;
        }
        let priority = priority(offer)?;
        if priority > installed.choice_priority() {
            continue;
        }
        let better = best.is_none_or(|(best, known)| {
            // A lower number is a higher priority.
            let order = known.cmp(&priority).reverse();
            order.then_with(|| compare_versions(package_name::split(best.name()).1, version)).is_lt()
        });
        if better {
            best = Some((offer, priority));
        }
    }
    Ok(best.map(|(offer, _)| offer))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::StorePath;
    use crate::model::manifest_nix::Value;

    fn element(name: &str, priority: i64) -> Element {
        let digit = char::from(b'0' + u8::try_from(name.bytes().map(u64::from).sum::<u64>() % 10).unwrap());
        let hash: String = std::iter::repeat_n(digit, 32).collect();
        let mut element =
            Element::of_path(name, StorePath::from_base_name(&format!("{hash}-{name}")).unwrap());
        element.meta.insert("priority".to_owned(), Value::Int(priority));
        element
    }

    #[test]
    fn offers() {
        let installed = element("foo-2", 5);
        let offers = [
            element("foo-1", 5),
            element("foo-3", 5),
            element("foo-4", 6),
            element("bar-9", 5),
            element("foo-2", 4),
        ];
        let of = |installed: &Element, offers: &[Element], mode: Mode| {
            let priority = |offer: &Element| Ok::<_, std::convert::Infallible>(offer.choice_priority());
            let chosen = choose(installed, offers, mode, priority).unwrap();
            chosen.map(|offer| (offer.name.clone(), offer.choice_priority()))
        };
        let is = |name: &str, priority: i64| Some((name.to_owned(), priority));
        assert_eq!(of(&installed, &offers, Mode::Higher), is("foo-3", 5));
        // A better priority counts more than a higher version.
        assert_eq!(of(&installed, &offers, Mode::Any), is("foo-2", 4));
        let others = [element("foo-1", 5), element("foo-3", 5), element("foo-1.5", 4)];
        assert_eq!(of(&installed, &others, Mode::Any), is("foo-1.5", 4));
        assert_eq!(of(&installed, &others[..1], Mode::Higher), None);
        assert_eq!(of(&installed, &others[..1], Mode::HigherOrSame), None);
        let mut unknown = element("foo-3", 5);
        unknown.meta.clear();
        let numbered = [element("foo-4", 1), unknown.clone()];
        assert_eq!(of(&installed, &numbered, Mode::Higher), is("foo-3", 0), "no priority is better than 1");
        assert_eq!(of(&unknown, &numbered[..1], Mode::Higher), None);
        let mut kept = installed.clone();
        kept.meta.insert("keep".to_owned(), Value::String("true".to_owned()));
        assert_eq!(of(&kept, &offers, Mode::Higher), None);
    }
}
