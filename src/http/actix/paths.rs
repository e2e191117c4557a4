//! The order of paths. actix-web takes the first that matches; ours do not depend on who came first.

use alloc::{borrow::ToOwned, string::String, vec::Vec};

use crate::http::RoutesError;

/// Puts what has the paths that `path` gives into the order in which they are tried.
pub(super) fn sort<T>(all: &mut [T], path: impl Fn(&T) -> &str) -> Result<(), RoutesError> {
    let mut seen: Vec<(String, &str)> = Vec::new();
    for item in &*all {
        let path = path(item);
        let shape = shape(path);
        if let Some((_, other)) = seen.iter().find(|(other, _)| *other == shape) {
            return Err(RoutesError::Ambiguous((*other).to_owned(), path.to_owned()));
        }
        seen.push((shape, path));
    }
    all.sort_by_cached_key(|item| rank(path(item)));
    Ok(())
}

/// The path without the names of its parameters.
fn shape(path: &str) -> String {
    let (mut shape, mut depth, mut is_name) = (String::new(), 0_usize, false);
    for character in path.chars() {
        match character {
            '{' => {
                depth += 1;
                is_name |= depth == 1;
            }
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        is_name &= character != ':' && depth > 0;
        if !is_name {
            shape.push(character);
        }
    }
    shape
}

/// What each segment takes. The less, the earlier it is tried.
fn rank(path: &str) -> Vec<u8> {
    let mut depth = 0_usize;
    let is_end = |character: char| {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == '/' && depth == 0
    };
    let segments = path.split(is_end).map(|segment| match segment {
        fixed if !fixed.contains('{') => 0,
        rest if takes_slashes(rest) => 3,
        // No expression, and nothing besides.
        all if all.starts_with('{') && all.ends_with('}') && !all.contains(':') => 2,
        _ => 1,
    });
    // What ends takes all that goes on, if its last segment does.
    segments.chain([u8::MAX]).collect()
}

/// Whether a segment may take those that follow it. Of an expression for which that is hard to tell, it
/// is said that it may.
fn takes_slashes(segment: &str) -> bool {
    if segment.ends_with("}*") {
        return true;
    }
    let Some((_, expression)) = segment.split_once(':') else {
        return false;
    };
    let expression = expression.replace(r"\.", "").replace("[^/]", "");
    expression.contains(['/', '.', '^'])
        || [r"\S", r"\D", r"\W", r"\P"].iter().any(|class| expression.contains(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_segment_goes_before_a_parameter_and_that_before_the_rest() {
        let mut paths = [
            "/{rest:.*}",
            "/{rest:.*}/last",
            "/keys/{id}/uses",
            "/keys/{id}",
            "/keys/{rest}*",
            "/{area}/first",
            r"/keys/{id:\d+}",
            r"/{path:[a-z/]+}",
            r"/{name:[^/]+\.pdf}",
            "/keys/v{id}",
            "/keys/search",
            "/keys",
        ];
        sort(&mut paths, |path| path).unwrap();
        let expected = [
            "/keys/search",
            r"/keys/{id:\d+}",
            "/keys/v{id}",
            "/keys/{id}/uses",
            "/keys/{id}",
            "/keys/{rest}*",
            "/keys",
            r"/{name:[^/]+\.pdf}",
            "/{area}/first",
            "/{rest:.*}/last",
            "/{rest:.*}",
            r"/{path:[a-z/]+}",
        ];
        assert_eq!(paths, expected);
    }

    #[test]
    fn two_paths_for_the_same_requests_are_refused() {
        let mut paths = ["/keys/{id}/uses", "/keys/{key}/uses"];
        let ambiguous = RoutesError::Ambiguous(paths[0].into(), paths[1].into());
        assert_eq!(sort(&mut paths, |path| path), Err(ambiguous));
        for mut paths in [
            ["/keys/{id}", "/keys/{id}/"],
            ["/keys/{id}", "/keys/id"],
            [r"/keys/{id:\d{4}}", r"/keys/{id:\d{5}}"],
            [r"/keys/{id:\d+}", "/keys/{id}"],
        ] {
            assert_eq!(sort(&mut paths, |path| path), Ok(()), "{paths:?}");
        }
    }
}
