//! Which of the packages on offer an installed one is upgraded to.

use std::cmp::Ordering;

use super::element::Element;
use crate::model::package_name::compare_versions;

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

/// What an installed package is replaced by: of the offers with its name that
/// the mode takes, none of a worse priority, the one of the best priority and
/// among these of the highest version, the first of several.
pub fn choose<'o>(installed: &Element, offers: &'o [Element], mode: Mode) -> Option<&'o Element> {
    if installed.is_kept() {
        return None;
    }
    let mut best: Option<&Element> = None;
    for offer in offers {
        if offer.package() != installed.package()
            || !mode.takes(compare_versions(installed.version(), offer.version()))
            || offer.priority() > installed.priority()
        {
            continue;
        }
        let better = best.is_none_or(|best| {
            // A lower number is a higher priority.
            let order = best.priority().cmp(&offer.priority()).reverse();
            order.then_with(|| compare_versions(best.version(), offer.version())).is_lt()
        });
        if better {
            best = Some(offer);
        }
    }
    best.filter(|best| best.out_path != installed.out_path)
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
        let chosen =
            |mode| choose(&installed, &offers, mode).map(|offer| (offer.name.as_str(), offer.priority()));
        assert_eq!(chosen(Mode::Higher), Some(("foo-3", 5)));
        // A better priority counts more than a higher version.
        assert_eq!(chosen(Mode::Any), None, "it is the same path");
        let others = [element("foo-1", 5), element("foo-3", 5), element("foo-1.5", 4)];
        assert_eq!(choose(&installed, &others, Mode::Any).unwrap().name, "foo-1.5");
        assert_eq!(choose(&installed, &others[..1], Mode::Higher), None);
        assert_eq!(choose(&installed, &others[..1], Mode::HigherOrSame), None);
        let mut kept = installed.clone();
        kept.meta.insert("keep".to_owned(), Value::String("true".to_owned()));
        assert_eq!(choose(&kept, &offers, Mode::Higher), None);
    }
}
