//! Which part of a list a machine runs: the same on every machine, for it depends on nothing but the list. PURE.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::journal::run::Shard;

/// `sha256:<hex>` over ids, sorted, a newline after each.
pub fn list_digest<'a>(ids: impl IntoIterator<Item = &'a str>) -> String {
    let mut sorted: Vec<&str> = ids.into_iter().collect();
    sorted.sort_unstable();
    let mut hash = Sha256::new();
    for id in sorted {
        hash.update(id.as_bytes());
        hash.update(b"\n");
    }
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Says for every id whether it belongs to `shard`. With durations the longest are dealt first, each to the shard that
/// has least so far; one that nobody has measured counts as the middle one of those that were. Without any, a hash of
/// the id decides, so that a new test moves no other.
pub fn split(ids: &[&str], durations: impl Fn(&str) -> Option<Duration>, shard: Shard) -> Vec<bool> {
    let known: BTreeMap<&str, Duration> = ids.iter().filter_map(|id| Some((*id, durations(id)?))).collect();
    let mut sorted: Vec<Duration> = known.values().copied().collect();
    sorted.sort_unstable();
    let Some(middle) = sorted.get(sorted.len() / 2).copied() else {
        return ids.iter().map(|id| place(id, shard.total) == shard.index).collect();
    };
    let duration = |index: usize| known.get(ids[index]).copied().unwrap_or(middle);
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_by(|&a, &b| duration(b).cmp(&duration(a)).then_with(|| ids[a].cmp(ids[b])));
    let mut loads: Vec<(Duration, u32)> = (1..=shard.total).map(|index| (Duration::ZERO, index)).collect();
    let mut mine = vec![false; ids.len()];
    for index in order {
        let least = loads.iter_mut().min().expect("a list has at least one shard");
        // What takes no time at all would all go to the first.
        least.0 += duration(index).max(Duration::from_millis(1));
        mine[index] = least.1 == shard.index;
    }
    mine
}

/// From 1 to `total`.
fn place(id: &str, total: u32) -> u32 {
    let hash = Sha256::digest(id.as_bytes());
    let number = u64::from_be_bytes(hash[..8].try_into().expect("eight bytes of thirty-two"));
    u32::try_from(number % u64::from(total)).expect("less than a u32") + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("a.lua::test {index}@sim")).collect()
    }

    fn parts(
        ids: &[&str],
        durations: impl Fn(&str) -> Option<Duration> + Copy,
        total: u32,
    ) -> Vec<Vec<usize>> {
        let part = |index| {
            let mine = split(ids, durations, Shard { index, total });
            (0..ids.len()).filter(|&index| mine[index]).collect()
        };
        (1..=total).map(part).collect()
    }

    #[test]
    fn every_test_is_in_exactly_one_shard() {
        let ids = ids(101);
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let some = |id: &str| id.contains('7').then(|| Duration::from_secs(id.len() as u64));
        for total in [1, 2, 7, 150] {
            for all in [parts(&ids, |_| None, total), parts(&ids, some, total)] {
                let mut together: Vec<usize> = all.concat();
                together.sort_unstable();
                assert_eq!(together, (0..ids.len()).collect::<Vec<_>>(), "{total} shards");
            }
        }
    }

    #[test]
    fn shards_take_equally_long() {
        let ids = ids(40);
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let seconds = |index: usize| Duration::from_secs([300, 5, 60, 1][index % 4]);
        let of = |id: &str| ids.iter().position(|known| *known == id).map(seconds);
        let loads: Vec<Duration> =
            parts(&ids, of, 4).iter().map(|part| part.iter().map(|&index| seconds(index)).sum()).collect();
        let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
        assert!(*most - *least <= Duration::from_secs(300), "{loads:?}");
        let ideal: Duration = loads.iter().sum::<Duration>() / 4;
        assert!(*most <= ideal.mul_f64(1.34), "{loads:?}");
    }

    #[test]
    fn the_order_of_the_list_does_not_matter() {
        let ids = ids(30);
        let forward: Vec<&str> = ids.iter().map(String::as_str).collect();
        let backward: Vec<&str> = forward.iter().rev().copied().collect();
        let of = |id: &str| Some(Duration::from_secs(id.len() as u64));
        for total in [2, 5] {
            let shard = Shard { index: 1, total };
            let mut mirrored = split(&backward, of, shard);
            mirrored.reverse();
            assert_eq!(split(&forward, of, shard), mirrored);
        }
        assert_eq!(list_digest(forward.iter().copied()), list_digest(backward));
        assert_ne!(list_digest(forward.iter().copied()), list_digest(forward[1..].iter().copied()));
    }

    #[test]
    fn without_durations_a_new_test_moves_no_other() {
        let all = ids(50);
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let shard = Shard { index: 2, total: 3 };
        assert_eq!(split(&all, |_| None, shard)[..40], split(&all[..40], |_| None, shard));
    }
}
