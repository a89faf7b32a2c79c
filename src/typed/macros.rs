//! The declaration of an interface.

/// Declares an [`Interface`](crate::typed::Interface): the messages that one side of a link understands.
///
/// Each line is a kind, a name and types. The kinds are `at_most_once` and `idempotent` for calls, which have a
/// response, `notify` and `publish` for one-way messages. A type that borrows uses the lifetime of the enum. See
/// [`typed`](crate::typed) for an example.
///
/// Two messages with the same key fail the build; here is a pair that does:
///
/// ```compile_fail,E0080
/// bowline::interface! {
///     pub enum Colliding {
///         notify M517(u8);
///         notify M518(u8);
///     }
/// }
/// ```
#[macro_export]
macro_rules! interface {
    (
        $(#[$meta:meta])*
        $vis:vis enum $interface:ident<$life:lifetime> { $($body:tt)* }
    ) => {
        $crate::__interface! { @declare [$(#[$meta])*] [$vis] $interface [$life] [<$life>] $($body)* }
    };
    (
        $(#[$meta:meta])*
        $vis:vis enum $interface:ident { $($body:tt)* }
    ) => {
        $crate::__interface! { @declare [$(#[$meta])*] [$vis] $interface ['a] [] $($body)* }
    };
}

/// The parts of [`interface!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __interface {
    (
        @declare [$($meta:tt)*] [$vis:vis] $interface:ident [$life:lifetime] [$($generics:tt)*]
        $(
            $(#[$doc:meta])*
            $kind:ident $name:ident($sent:ty) $(-> $answered:ty)?;
        )*
    ) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            $vis struct $name;

            $crate::__interface! { @name $kind $name [$life] $interface $sent $(, $answered)? }
        )*

        $crate::__interface! {
            @enum [$($meta)*] [$vis] $interface [$life] [$($generics)*] {}
            $( [$(#[$doc])*] $kind $name($sent); )*
        }

        // The lifetime is named for the types of the variants.
        impl<$life> $crate::typed::Interface for $crate::__interface!(@apply $interface $life [$($generics)*]) {
            type Incoming<'m> = $crate::__interface!(@apply $interface 'm [$($generics)*]);

            const DECLARATIONS: &'static [$crate::typed::Declaration] =
                &[$( $crate::__interface!(@declaration $kind $name) ),*];

            fn decode(
                message: $crate::Message<'_>,
            ) -> ::core::result::Result<Self::Incoming<'_>, $crate::typed::Undecodable> {
                $( $crate::__interface! { @decode $kind $interface $name message } )*
                ::core::result::Result::Err($crate::typed::Undecodable::unknown(&message))
            }
        }

        const _: () = $crate::typed::assert_unique(<$interface as $crate::typed::Interface>::DECLARATIONS);
    };

    (@apply $interface:ident $life:lifetime []) => { $interface };
    (@apply $interface:ident $life:lifetime [$($generics:tt)+]) => { $interface<$life> };

    // One variant after the other, since a macro cannot stand for one.
    (
        @enum [$($meta:tt)*] [$vis:vis] $interface:ident [$life:lifetime] [$($generics:tt)*] { $($done:tt)* }
        [$($doc:tt)*] notify $name:ident($sent:ty); $($rest:tt)*
    ) => {
        $crate::__interface! {
            @enum [$($meta)*] [$vis] $interface [$life] [$($generics)*]
            { $($done)* $($doc)* $name($sent), }
            $($rest)*
        }
    };
    (
        @enum [$($meta:tt)*] [$vis:vis] $interface:ident [$life:lifetime] [$($generics:tt)*] { $($done:tt)* }
        [$($doc:tt)*] publish $name:ident($sent:ty); $($rest:tt)*
    ) => {
        $crate::__interface! {
            @enum [$($meta)*] [$vis] $interface [$life] [$($generics)*]
            { $($done)* $($doc)* $name($sent, u16), }
            $($rest)*
        }
    };
    (
        @enum [$($meta:tt)*] [$vis:vis] $interface:ident [$life:lifetime] [$($generics:tt)*] { $($done:tt)* }
        [$($doc:tt)*] $kind:ident $name:ident($sent:ty); $($rest:tt)*
    ) => {
        $crate::__interface! {
            @enum [$($meta)*] [$vis] $interface [$life] [$($generics)*]
            { $($done)* $($doc)* $name($sent, $crate::typed::Reply<$name>), }
            $($rest)*
        }
    };
    (@enum [$($meta:tt)*] [$vis:vis] $interface:ident [$life:lifetime] [$($generics:tt)*] { $($done:tt)* }) => {
        $($meta)*
        $vis enum $interface $($generics)* { $($done)* }
    };

    // What each kind is.
    (@name at_most_once $name:ident $rest:tt $($more:tt)*) => {
        $crate::__interface! { @procedure AtMostOnce $name $rest $($more)* }
    };
    (@name idempotent $name:ident $rest:tt $($more:tt)*) => {
        $crate::__interface! { @procedure Idempotent $name $rest $($more)* }
    };
    (@name notify $name:ident [$life:lifetime] $interface:ident $sent:ty) => {
        $crate::__interface! { @one_way Notification Notify $name [$life] $sent }
    };
    (@name publish $name:ident [$life:lifetime] $interface:ident $sent:ty) => {
        $crate::__interface! { @one_way Topic Publish $name [$life] $sent }
    };
    (@procedure $semantics:ident $name:ident [$life:lifetime] $interface:ident $sent:ty, $answered:ty) => {
        impl $crate::typed::Procedure for $name {
            type Request<$life> = $sent;
            type Response<$life> = $answered;

            const DECLARATION: $crate::typed::Declaration = $crate::typed::Declaration::new(
                $crate::typed::Kind::$semantics,
                ::core::stringify!($name),
                <Self::Request<'static> as $crate::typed::Schema>::SCHEMA,
                <Self::Response<'static> as $crate::typed::Schema>::SCHEMA,
            );
            const SEMANTICS: $crate::Semantics = $crate::Semantics::$semantics;
            const INTERFACE: u32 = <$interface as $crate::typed::Interface>::DIGEST;
        }
    };
    (@one_way $trait:ident $kind:ident $name:ident [$life:lifetime] $sent:ty) => {
        impl $crate::typed::$trait for $name {
            type Payload<$life> = $sent;

            const DECLARATION: $crate::typed::Declaration = $crate::typed::Declaration::new(
                $crate::typed::Kind::$kind,
                ::core::stringify!($name),
                <Self::Payload<'static> as $crate::typed::Schema>::SCHEMA,
                <() as $crate::typed::Schema>::SCHEMA,
            );
        }
    };

    (@declaration notify $name:ident) => { <$name as $crate::typed::Notification>::DECLARATION };
    (@declaration publish $name:ident) => { <$name as $crate::typed::Topic>::DECLARATION };
    (@declaration $kind:ident $name:ident) => { <$name as $crate::typed::Procedure>::DECLARATION };

    (@decode notify $interface:ident $name:ident $message:ident) => {
        if let $crate::Message::Notify { key, payload } = $message
            && key == const { <$name as $crate::typed::Notification>::DECLARATION.key() }
        {
            let value = $crate::typed::decode(payload).ok_or($crate::typed::Undecodable::OneWay(key))?;
            return ::core::result::Result::Ok($interface::$name(value));
        }
    };
    (@decode publish $interface:ident $name:ident $message:ident) => {
        if let $crate::Message::Publish { key, missed, payload } = $message
            && key == const { <$name as $crate::typed::Topic>::DECLARATION.key() }
        {
            let value = $crate::typed::decode(payload).ok_or($crate::typed::Undecodable::OneWay(key))?;
            return ::core::result::Result::Ok($interface::$name(value, missed));
        }
    };
    (@decode $kind:ident $interface:ident $name:ident $message:ident) => {
        if let $crate::Message::Request { id, key, payload, .. } = $message
            && key == const { <$name as $crate::typed::Procedure>::DECLARATION.key() }
        {
            let malformed = $crate::typed::Undecodable::Request(id, $crate::Refusal::Malformed);
            let request = $crate::typed::decode(payload).ok_or(malformed)?;
            return ::core::result::Result::Ok($interface::$name(request, $crate::typed::Reply::new(id)));
        }
    };
}
