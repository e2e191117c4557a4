//! Declared paths that match the same requests.
//!
//! Servers choose between such paths in different ways: some take the most exact segment from the left, and others
//! the path that was registered first. All of them can agree only if one of the paths is the most exact one in each
//! segment.

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};

use super::pattern::{Part, Pattern};
use crate::config::ConfigError;

/// Checks that for every two paths, the requests that both match have a declared path of their own. It is one of
/// the two if that one is more exact.
pub(super) fn check<'p>(paths: impl IntoIterator<Item = &'p str>) -> Result<(), ConfigError> {
    let patterns: Vec<Pattern<'_>> =
        paths.into_iter().map(Pattern::parse).collect::<Result<_, _>>()?;
    let declared: BTreeSet<(Vec<Part<'_>>, bool)> =
        patterns.iter().map(|pattern| (nameless(&pattern.parts), pattern.is_slashed)).collect();
    for (at, first) in patterns.iter().enumerate() {
        for second in patterns.iter().skip(at + 1) {
            let Some(shared) = shared(&first.parts, &second.parts) else { continue };
            let shape = nameless(&shared);
            // Servers that ignore a slash at the end match a path with and without it.
            for is_slashed in [first.is_slashed, second.is_slashed] {
                if !declared.contains(&(shape.clone(), is_slashed)) {
                    return Err(ConfigError::OverlappingPaths {
                        first: first.path.into(),
                        second: second.path.into(),
                        shared: text(&shared, is_slashed),
                    });
                }
            }
        }
    }
    Ok(())
}

/// Returns the path that matches the requests that both paths match, or `None` if there are none. The slash at the
/// end does not count.
fn shared<'p>(mut first: &[Part<'p>], mut second: &[Part<'p>]) -> Option<Vec<Part<'p>>> {
    let mut shared = Vec::new();
    loop {
        match (first, second) {
            ([], []) => return Some(shared),
            // The rest takes at least one segment.
            ([Part::Rest(_)], others @ [_, ..]) | (others @ [_, ..], [Part::Rest(_)]) => {
                shared.extend(others);
                return Some(shared);
            }
            ([one, rest_of_first @ ..], [other, rest_of_second @ ..]) => {
                shared.push(match (one, other) {
                    (Part::Literal(text), Part::Literal(same)) if text != same => return None,
                    (Part::Literal(_), _) => *one,
                    _ => *other,
                });
                (first, second) = (rest_of_first, rest_of_second);
            }
            _ => return None,
        }
    }
}

/// Returns the parts without the names of parameters, which do not count in a comparison.
fn nameless<'p>(parts: &[Part<'p>]) -> Vec<Part<'p>> {
    let nameless = |part: &Part<'p>| match part {
        Part::Literal(text) => Part::Literal(text),
        Part::Parameter(_) => Part::Parameter(""),
        Part::Rest(_) => Part::Rest(""),
    };
    parts.iter().map(nameless).collect()
}

fn text(parts: &[Part<'_>], is_slashed: bool) -> String {
    let segments = parts.iter().map(|part| match part {
        Part::Literal(text) => format!("/{text}"),
        Part::Parameter(name) => format!("/{{{name}}}"),
        Part::Rest(name) => format!("/{{*{name}}}"),
    });
    let end = if is_slashed || parts.is_empty() { "/" } else { "" };
    segments.chain([end.into()]).collect()
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::{
        super::{target::Target, tree::Tree},
        *,
    };

    fn fault(paths: &[&str]) -> String {
        check(paths.iter().copied()).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn shared_path_must_be_declared() {
        for (first, second, shared) in [
            ("/{org}/settings", "/public/{page}", "/public/settings"),
            ("/public/{page}", "/{org}/settings", "/public/settings"),
            ("/files/{*path}", "/{org}/settings", "/files/settings"),
            ("/files/{*path}", "/{org}/{page}", "/files/{page}"),
            ("/files/{*path}", "/{org}/{page}/{*rest}", "/files/{page}/{*rest}"),
            ("/a/{x}/{y}/d", "/{p}/b/{z}/{w}", "/a/b/{z}/d"),
            ("/{p}/a/", "/b/{*rest}", "/b/a/"),
            ("/{p}/a/", "/b/{q}", "/b/a/"),
            ("/b/a", "/{p}/{q}/", "/b/a/"),
        ] {
            let found = fault(&[first, second]);
            let expected = format!("the paths `{first}` and `{second}` both match `{shared}`,");
            assert!(found.starts_with(&expected), "{found}");
        }
        assert_eq!(fault(&["/{org}/settings", "/public/{page}", "/public/settings"]), "");
        // One of the paths is the shared one, or there is none.
        for paths in [
            ["/machines/{id}", "/machines/new"],
            ["/{*rest}", "/a/{b}/{*c}"],
            ["/{*rest}", "/files/{*path}"],
            ["/files/{*path}", "/files/a/secret"],
            ["/files/", "/files/{*path}"],
            ["/a/{b}", "/{a}/b/c"],
            ["/a/{b}/c", "/{a}/b/d"],
            ["/x", "/x/"],
            ["/", "/{*rest}"],
        ] {
            assert_eq!(fault(&paths), "", "{paths:?}");
        }
    }

    /// Returns whether `pattern` matches the request, as most servers do it.
    fn is_match(pattern: &Pattern<'_>, segments: &[&str]) -> bool {
        let mut segments = segments.iter();
        let is_part = |part: &Part<'_>| match (part, segments.next()) {
            (Part::Literal(text), Some(segment)) => text == segment,
            (Part::Parameter(_), Some(_)) => true,
            (Part::Rest(_), Some(_)) => {
                segments.by_ref().for_each(drop);
                true
            }
            (_, None) => false,
        };
        pattern.parts.iter().all(is_part) && segments.next().is_none()
    }

    /// Returns every request of one to three segments. No path has a literal `c`.
    fn requests() -> Vec<Vec<&'static str>> {
        let mut requests: Vec<Vec<_>> = alloc::vec![Vec::new()];
        for at in 0..13 {
            for segment in ["a", "b", "c"] {
                let longer = [&requests[at][..], &[segment]].concat();
                requests.push(longer);
            }
        }
        requests.split_off(1)
    }

    /// Returns whether a server that takes the first of these paths that matches serves each request by the path that
    /// the tree finds.
    fn agrees(paths: [&str; 2]) -> bool {
        let mut tree = Tree::<String>::new();
        for path in paths {
            tree.value(path).unwrap().push_str(path);
        }
        let patterns = paths.map(|path| Pattern::parse(path).unwrap());
        requests().iter().all(|segments| {
            let target = format!("/{}", segments.join("/"));
            let found = tree.find(&Target::parse(target.as_bytes()).unwrap()).unwrap();
            let first = patterns.iter().find(|pattern| is_match(pattern, segments));
            found.map(|found| &*found.leaf.value) == first.map(|pattern| pattern.path)
        })
    }

    #[test]
    fn pair_is_taken_if_one_path_is_part_of_the_other() {
        let mut paths = alloc::vec![String::from("/{*z}")];
        for first in ["a", "b", "{x}"] {
            paths.push(format!("/{first}"));
            for others in ["a", "b", "{y}", "{*z}", "a/{w}", "{y}/b", "{y}/{*z}"] {
                paths.push(format!("/{first}/{others}"));
            }
        }
        let matched = |path: &str| -> BTreeSet<Vec<&str>> {
            let pattern = Pattern::parse(path).unwrap();
            requests().into_iter().filter(|segments| is_match(&pattern, segments)).collect()
        };
        let (mut refused, mut taken) = (0, 0);
        for (at, first) in paths.iter().enumerate() {
            for second in &paths[at + 1..] {
                let (of_first, of_second) = (matched(first), matched(second));
                let is_part = of_first.is_disjoint(&of_second)
                    || of_first.is_subset(&of_second)
                    || of_second.is_subset(&of_first);
                assert_eq!(fault(&[first, second]).is_empty(), is_part, "{first} {second}");
                let more_exact_first = if of_first.len() <= of_second.len() {
                    [&**first, &**second]
                } else {
                    [&**second, &**first]
                };
                let [one, other] = more_exact_first;
                if is_part {
                    assert!(agrees(more_exact_first), "{first} {second}");
                    taken += 1;
                } else {
                    // The control: one of the orders is served differently.
                    assert!(!(agrees([one, other]) && agrees([other, one])), "{first} {second}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 20 && taken > 100, "{refused} {taken}");
    }
}
