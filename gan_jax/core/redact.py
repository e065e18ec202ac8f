"""Masking of secrets and escaping of control characters in output.

All text that the program prints or writes goes through here. A secret is
recognised by its position: the user part of a URI, or the value after a name
such as `access_token` or `apiKey`, in any of the usual ways to join and quote
the two (flags, queries, JSON, headers, shell variables).
"""

import re

MASK = '***'

# Matches names in lower case with words joined by '_': 'x_amz_signature'.
NAMES = re.compile(
    r'password|passwd|passphrase|passcode|secret|credential'
    r'|(?:^|_)(?:'
    r'[a-z]*tokens?|pwd|creds|signature|bearer|jwt|sas|cookies?'
    r'|o?auth|authori[sz]ation|authentication'
    r'|(?:api|access|account|encryption|private|service|shared|signing|ssh)'
    r'_?keys?'
    r'|(?<!low_)(?<!high_)(?<!band_)pass|(?:db|ftp|smtp|user)pass'
    r')(?:_|$)'
)
IN_QUERIES = re.compile(r'(?:^|_)(?:key|sig|private)(?:_|$)')  # as in ?key=…
WORDS = re.compile(r'[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+')
WHOLE_LINES = re.compile(r'(?:^|_)(?:authori[sz]ation|cookies?)$')  # headers

# A name and the `=`, `:` or URL-encoded `=` between it and its value.
JOINED = re.compile(r"""
    (?: (?<![\w.%-]) | (?<=[%5]3F) | (?<=[%5]26) | (?<=[%5]23) | (?<=[%5]3B) )
    (?P<name> [\w.-]++ )
    (?: (?P<quote> \\*["'] ) [ \t]{0,3} : [ \t]{0,3}
      | (?P<colon> : ) [ \t]{0,3}
      | (?P<encoded> %(?:25){0,3}3D )
      | [ \t]{0,3} = (?!=) [ \t]{0,3}
    )""", re.IGNORECASE | re.VERBOSE)
SEPARATOR = re.compile(r'(?:[?&;#]|[%5](?:3F|26|23|3B))\Z', re.IGNORECASE)
IN_QUERY = re.compile(r"""(?:(?!%(?:25){0,3}26)[^\s&#'"])*+""", re.IGNORECASE)
QUOTE = re.compile(r"""\\*["']""")
BRACKETS = re.compile(r"""\\*["']|[\[\](){}]""")
BARE = re.compile(r"""[^\s,'"\])}]*+""")
# A word of a shell command; it ends at a quote without a closing one.
SHELL_WORD = re.compile(r"""
    (?: '[^']*+(?:'|\Z) | "(?:\\.|[^"\\])*+(?:"|\Z) )?+
    (?: '[^']*+' | "(?:\\.|[^"\\])*+" | \\. | [^\s'"\\] )*+
    """, re.DOTALL | re.VERBOSE)
BEARER = re.compile(r"""(?i)(?<![\w-])(bearer[ \t]{1,3})[^\s'"]+""")

# The user part of a URI, without and with a password. pathlib collapses the
# two slashes of a URI into one.
USER = re.compile(r'(://|\b(?:https?|gs|s3):/)[^\s/?#]+@')
USER_AND_PASSWORD = re.compile(r'\w:/{1,2}(?=[^/?#:]*:)')


def mask(text):
    """Replace passwords and tokens in a text by `***`."""
    text = re.sub(r'\S+', lambda word: _mask_user(word[0]), text)
    parts, end = [], 0
    for match in JOINED.finditer(text):
        if match.start() < end or not _joins_secret(text, match):
            continue
        value = _value_end(text, match)
        if value > match.end():
            parts += [text[end:match.end()], _masked(text[match.end():value])]
            end = value
    return BEARER.sub(rf'\1{MASK}', ''.join(parts) + text[end:])


def escape(text):
    r"""Mask a text and escape what a terminal would interpret or hide.

    A control character becomes its escape sequence, such as \x1b; line breaks
    stay.
    """
    return ''.join(
        character if character.isprintable() or character == '\n'
        else ascii(character)[1:-1] for character in mask(text)
    )


def say(text, file=None):
    """Print masked and escaped text, by default to standard output."""
    print(escape(text), file=file, flush=True)


def mask_arguments(arguments):
    """Mask a command line, also the argument after a flag such as --token.

    Args:
        arguments: list of str.

    Returns:
        list of str of the same length.
    """
    masked, hide = [], False
    for argument in arguments:
        whole = re.match(r'(-{0,2}[\w.-]+)=', argument)
        if hide:
            masked.append(MASK)
        elif whole and is_secret(whole[1]):
            masked.append(whole[0] + MASK)
        else:
            masked.append(mask(argument))
        flag = re.fullmatch(r'--?([\w.-]+)', argument)
        hide = bool(flag and is_secret(flag[1]))
    return masked


def mask_values(tree):
    """Mask the texts in nested dicts and lists, and values of secret keys."""
    if isinstance(tree, dict):
        return {
            key: _mask_all(value) if is_secret(str(key))
            else mask_values(value) for key, value in tree.items()
        }
    if isinstance(tree, (list, tuple)):
        return [mask_values(value) for value in tree]
    return mask(tree) if isinstance(tree, str) else tree


def is_secret(name, in_query=False):
    """Return whether a name is that of a secret.

    Args:
        name: str, of a flag, key, header or variable.
        in_query: whether it is in the query of a URL.
    """
    words = _words(name)
    return bool(
        NAMES.search(words) or in_query and IN_QUERIES.search(words)
    )


def _mask_all(value):
    """Mask a value unless it is empty or a boolean."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return MASK if value and value is not True or number else value


def _mask_user(word):
    """Mask the user of a URI; up to the last @ if there is a password."""
    last = word.rfind('@')
    if last < 0:
        return word
    match = USER_AND_PASSWORD.search(word, 0, last)
    if match:
        return f'{word[:match.end()]}{MASK}{word[last:]}'
    return USER.sub(rf'\1{MASK}@', word)


def _words(name):
    """Return the words of a name in lower case, joined by '_'."""
    return '_'.join(WORDS.findall(name)).lower()


def _joins_secret(text, match):
    """Return whether a match of JOINED is a secret's name before its value."""
    before = text[max(match.start() - 1, 0):match.start()]
    if match['colon'] and ('.' in match['name'] or before in ('/', '\\')):
        return False  # a message about a path, as in `token.txt: missing`
    return is_secret(match['name'], _in_query(text, match))


def _in_query(text, match):
    """Return whether a match of JOINED is in the query of a URL."""
    before = text[max(match.start() - 3, 0):match.start()]
    return bool(match['encoded'] or SEPARATOR.search(before))


def _value_end(text, match):
    """Return the end index of the value that follows a match of JOINED."""
    start = match.end()
    if match['quote']:  # a quoted name, as in JSON or a Python dict
        return _literal_end(text, start)
    if text[match.start() - 1:match.start()] in ('"', "'"):
        return _closing(text, match)
    if _in_query(text, match):
        return IN_QUERY.match(text, start).end()
    if match['colon'] and WHOLE_LINES.search(_words(match['name'])):
        end = text.find('\n', start)
        return len(text) if end < 0 else end
    if text[start:start + 1] in ('[', '{', '('):
        return _literal_end(text, start)
    return SHELL_WORD.match(text, start).end()


def _closing(text, match):
    """Return the index of the quote that closes one around name and value.

    A shell writes a quote inside quotes as '"'"'; the value continues after it.
    """
    opened = match.start() - 1
    while text[opened - 1:opened] == '\\':
        opened -= 1
    for token in QUOTE.finditer(text, match.end()):
        if token[0] == text[opened:match.start()]:
            if text[token.end():token.end() + 1] in ('"', "'", '\\'):
                end = SHELL_WORD.match(text, token.end()).end()
                return end - (text[end - 1] == token[0])
            return token.start()
    return len(text)


def _literal_end(text, start):
    """Return the end index of a string, list, dict or bare value."""
    quote = QUOTE.match(text, start)
    if quote:
        return _string_end(text, quote)
    if text[start:start + 1] not in ('[', '{', '('):
        return BARE.match(text, start).end()
    depth, place = 0, start
    while token := BRACKETS.search(text, place):
        place = token.end()
        if token[0][-1] in '"\'':
            place = _string_end(text, token)
        else:
            depth += 1 if token[0] in '[{(' else -1
        if not depth:
            return place
    return len(text)


def _string_end(text, quote):
    """Return the end index of a string opened by a match of QUOTE."""
    for token in QUOTE.finditer(text, quote.end()):
        if token[0] == quote[0]:
            return token.end()
    return len(text)


def _masked(value):
    """Return `***` in the quotes of a value."""
    quote = QUOTE.match(value)
    if quote and value.endswith(quote[0]) and len(value) > quote.end():
        return f'{quote[0]}{MASK}{quote[0]}'
    return MASK
