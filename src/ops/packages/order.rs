//! The order of listings: by names, as if they were in upper case.
//!
//! Packages of one name come in the order in which the original's sorting leaves them, which depends on all
//! others: quick sort (the median of the second, the middle and the last element parts the rest; ranges up to 16
//! are left alone), and then an insertion sort of everything. Where quick sort nests too deeply, a range is
//! sorted at once.

/// Ranges up to this length are left to the insertion sort.
const SHORT: usize = 16;

/// Sorts packages for a listing; `name` gives their names.
pub fn sort<T>(packages: Vec<T>, name: impl Fn(&T) -> &str) -> Vec<T> {
    let keys: Vec<String> = packages.iter().map(|package| name(package).to_uppercase()).collect();
    let mut order: Vec<usize> = (0..packages.len()).collect();
    let less = |one: usize, other: usize| keys[one] < keys[other];
    let depth = 2 * order.len().checked_ilog2().unwrap_or(0);
    quick(&mut order, depth, &less);
    // Nothing is far from its place any more, and a stable sort does what insertion does.
    order.sort_by(|one, other| keys[*one].cmp(&keys[*other]));
    let mut packages: Vec<Option<T>> = packages.into_iter().map(Some).collect();
    order.into_iter().filter_map(|at| packages[at].take()).collect()
}

fn quick(order: &mut [usize], depth: u32, less: &impl Fn(usize, usize) -> bool) {
    let (mut range, mut depth) = (order, depth);
    while range.len() > SHORT {
        if depth == 0 {
            range.sort_by(|one, other| less(*other, *one).cmp(&less(*one, *other)));
            return;
        }
        depth -= 1;
        let cut = part(range, less);
        let (front, back) = range.split_at_mut(cut);
        quick(back, depth, less);
        range = front;
    }
}

/// Moves what is less than the median of three to the front, and gives the length of that.
fn part(range: &mut [usize], less: &impl Fn(usize, usize) -> bool) -> usize {
    let (second, middle, last) = (1, range.len() / 2, range.len() - 1);
    let is_less = |range: &[usize], one: usize, other: usize| less(range[one], range[other]);
    let median = match (is_less(range, second, middle), is_less(range, middle, last)) {
        (true, true) => middle,
        (true, false) if is_less(range, second, last) => last,
        (true, false) => second,
        (false, _) if is_less(range, second, last) => second,
        (false, true) => last,
        (false, false) => middle,
    };
    range.swap(0, median);
    let (mut first, mut end) = (1, range.len());
    loop {
        // The median of three stops both at the ends of the range.
        while is_less(range, first, 0) {
            first += 1;
        }
        end -= 1;
        while is_less(range, 0, end) {
            end -= 1;
        }
        if first >= end {
            return first;
        }
        range.swap(first, end);
        first += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::sort;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn everything_is_there_in_order(names in proptest::collection::vec("[a-cA-C]{0,2}", 0..200)) {
            let sorted = sort(names.clone(), |name| name);
            prop_assert!(sorted.windows(2).all(|pair| pair[0].to_uppercase() <= pair[1].to_uppercase()));
            let (mut one, mut other) = (names, sorted);
            one.sort();
            other.sort();
            prop_assert_eq!(one, other);
        }
    }

    #[test]
    fn few_of_one_name_stay_in_order() {
        let packages = vec![("b", 1), ("a", 2), ("B", 3), ("A", 4), ("b", 5)];
        let sorted = sort(packages, |package| package.0);
        assert_eq!(sorted, [("a", 2), ("A", 4), ("b", 1), ("B", 3), ("b", 5)]);
    }
}
