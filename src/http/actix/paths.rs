//! The order of paths.
//!
//! actix-web takes the first registered path that matches. Here the order does not depend on the order of
//! declaration.

use alloc::{borrow::ToOwned, string::String, vec::Vec};

use crate::config::ConfigError;

/// Sorts items into the order in which their paths are tried. `path` returns the path of an item.
pub(super) fn sort<T>(all: &mut [T], path: impl Fn(&T) -> &str) -> Result<(), ConfigError> {
    let mut seen: Vec<(String, &str)> = Vec::new();
    for item in &*all {
        let path = path(item);
        let shape = shape(path);
        if let Some((_, other)) = seen.iter().find(|(other, _)| *other == shape) {
            return Err(ConfigError::AmbiguousPaths((*other).to_owned(), path.to_owned()));
        }
        seen.push((shape, path));
    }
    all.sort_by_cached_key(|item| rank(path(item)));
    Ok(())
}

/// Returns the path without the names of its parameters. Paths with the same shape match the same requests.
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

/// Returns a rank for each segment. A segment that matches less has a lower rank and is tried earlier.
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
        // A parameter without an expression that fills the whole segment.
        all if all.starts_with('{') && all.ends_with('}') && !all.contains(':') => 2,
        _ => 1,
    });
    // A path that ends here is tried last, because its last segment may match everything that follows.
    segments.chain([u8::MAX]).collect()
}

/// Returns whether a segment may match the segments after it. An expression for which this is hard to
/// determine counts as one that may.
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
    fn fixed_segment_beats_parameter_and_parameter_beats_rest() {
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
        let ambiguous = ConfigError::AmbiguousPaths(paths[0].into(), paths[1].into());
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
