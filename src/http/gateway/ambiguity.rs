//! The reasons for which a gateway's question is refused before any key is read.

/// The reason why two servers could read two different requests in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Ambiguity {
    #[error("the gateway sent no original method or no original target")]
    NoOriginal,
    #[error("the original method or target was sent more than once")]
    SeveralOriginals,
    #[error("the original method is not a method in upper case")]
    Method,
    #[error("the original target is not a path")]
    NotAPath,
    #[error("the original target is longer than 8192 bytes")]
    TooLong,
    #[error("the path has a byte that must be percent-encoded")]
    Byte,
    #[error("the path has a `%` without two hexadecimal digits")]
    Escape,
    #[error("the path has a percent-encoded letter, digit, `-`, `_` or `~`")]
    NeedlessEscape,
    #[error("the path has a percent-encoded `/`, `\\`, `?` or `#`")]
    EncodedSeparator,
    #[error("the path has a percent-encoded percent sign before two hexadecimal digits")]
    DoubleEncoding,
    #[error("the path has a control character")]
    Control,
    #[error("the path is not UTF-8 after its escapes are decoded")]
    NotUtf8,
    #[error("the path has a segment `.` or `..`, or a percent-encoded dot")]
    DotSegment,
    #[error("the path has an empty segment")]
    EmptySegment,
    #[error("the path ends with a slash, and no declared path does")]
    TrailingSlash,
    #[error("the path has a `;`")]
    MatrixParameter,
    #[error("a segment of the path begins with a space, or ends with a space, a dot or a comma")]
    SegmentEnd,
    #[error("a segment of the path differs from a declared one in case or encoding only")]
    NearDeclared,
    #[error("a header or parameter of the request could change its method or path")]
    Override,
    #[error("the caller sent a header that only the check sets")]
    ForgedIdentity,
}

impl Ambiguity {
    /// Returns the value of the member `reason` in the problem.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::NoOriginal => "no-original",
            Self::SeveralOriginals => "several-originals",
            Self::Method => "method",
            Self::NotAPath => "not-a-path",
            Self::TooLong => "too-long",
            Self::Byte => "byte",
            Self::Escape => "escape",
            Self::NeedlessEscape => "needless-escape",
            Self::EncodedSeparator => "encoded-separator",
            Self::DoubleEncoding => "double-encoding",
            Self::Control => "control",
            Self::NotUtf8 => "not-utf8",
            Self::DotSegment => "dot-segment",
            Self::EmptySegment => "empty-segment",
            Self::TrailingSlash => "trailing-slash",
            Self::MatrixParameter => "matrix-parameter",
            Self::SegmentEnd => "segment-end",
            Self::NearDeclared => "near-declared",
            Self::Override => "override",
            Self::ForgedIdentity => "forged-identity",
        }
    }
}
