"""Personal: does a column hold personal data, or what a decision may not be made by?"""

import re
import unicodedata
from collections.abc import Iterable

from .spelling import most, split_words

NAMES = {
    *("email", "mail", "phone", "telephone", "mobile", "fax", "address", "street", "ssn"),
    *("passport", "iban", "birthday", "birthdate", "birth", "dob", "ip", "login", "username"),
    *("tel", "telefon", "telefonnummer", "handy", "handynummer", "mobil", "strasse", "hausnummer"),
    *("adresse", "anschrift", "geburtsdatum", "geburtstag", "ansprechpartner", "steuernummer"),
    *("prenom", "courriel", "portable", "rue", "naissance"),
    *("apellido", "apellidos", "correo", "telefono", "movil", "direccion", "calle", "nacimiento"),
    *("cognome", "cellulare", "indirizzo", "nascita", "apelido", "telefone", "endereco"),
}
"""Words, without accents, that name personal data in six languages."""
NAME = {"name", "nom", "nombre", "nome"}
"""Names of people where they stand alone or with one of the next two; else of anything."""
GIVEN = {
    *("first", "fore", "given", "middle", "last", "sur", "family", "full", "vor", "nach"),
    "familien",
}
PERSONS = {
    *("customer", "client", "contact", "patient", "person", "applicant", "borrower", "buyer"),
    *("seller", "owner", "holder", "guest", "passenger", "member", "sender", "recipient"),
    *("driver", "courier", "rider", "employee", "staff", "rep", "representative", "agent"),
    *("manager", "doctor", "teacher", "student", "user", "kunde", "kunden", "fahrer"),
    *("mitarbeiter", "patienten", "verkaufer", "chauffeur", "employe", "vendeur", "cliente"),
    *("conductor", "empleado", "vendedor", "usuario", "paciente", "autista", "dipendente"),
    *("utente", "paziente", "venditore"),
}
_OF = r"((customer|client|applicant|user|patient|person|kunden?|cliente)_?)?"
PROTECTED = re.compile(
    _OF + r"(age|sex|gender|race|ethnicity|ethnic|religion|nationality|citizenship|disability"
    r"|marital(_?status)?|pregnan(t|cy)|alter|geschlecht|nationalitae?t|konfession|familienstand"
    r"|zivilstand|staatsangehoe?rigkeit|behinderung|schwanger(schaft)?|sexe|genre|nationalite"
    r"|etat_civil|situation_(familiale|matrimoniale)|handicap|ethnie|edad|sexo|genero|raza|etnia"
    r"|nacionalidad|estado_civil|discapacidad|sesso|genere|razza|nazionalita|cittadinanza"
    r"|stato_civile|religione|disabilita|idade|nacionalidade|deficiencia)"
    r"(_(group|in_years|in_jahren|(du_|de_la_|del_)?(client|cliente|kunden)))?"
)
FEW_GENDERS = 4
"""Of more values, `genre` is that of a book, a film or a piece of music."""
VALUE = re.compile(
    r"[^@\s]+@[^@\s]+\.[a-z]{2,}|[A-Z]{2}\d{2}[A-Z0-9]{11,30}|\+\d[\d ()/-]{6,}"
    r"|\d{3}-\d{2}-\d{4}|(\d{1,3}\.){3}\d{1,3}",
    re.IGNORECASE,
)
"""An e-mail address, an IBAN, a telephone number, a US social security number, an IP address."""
FULL_NAME = re.compile(r"[A-Z\u00c0-\u00de][^\d\s,]*,?( [A-Z\u00c0-\u00de][^\d\s,]*){1,3}")


def is_personal_name(name: str) -> bool:
    """Whether a column of this name tells who a row is about."""
    words = split_words(name)
    if not words or not NAMES.isdisjoint(words):
        return bool(words)
    if words[-1].endswith("name"):
        whose = words[-1].removesuffix("name") or "".join(words[-2:-1])
        return not whose or whose in PERSONS | GIVEN
    return words[0] in NAME and (len(words) == 1 or not PERSONS.isdisjoint(words))


def says_person(name: str) -> bool:
    """Whether the name is that of a kind of people, such as driver or customer."""
    return not PERSONS.isdisjoint(split_words(name)[-1:])


def are_personal(values: Iterable[str]) -> bool:
    """Whether nearly all values are of a form that only personal data have."""
    return most(VALUE.fullmatch(each.strip()) for each in values)


def are_full_names(values: Iterable[str]) -> bool:
    """Whether nearly all values are of two to four capitalised words."""
    return most(FULL_NAME.fullmatch(each.strip()) for each in values)


def is_protected(name: str, kinds: int) -> bool:
    """Whether many countries forbid or limit decisions by what the name says.

    kinds: how many different values the column holds.
    """
    plain = "_".join(split_words(name))
    if plain in {"genre", "genero", "genere"} and kinds > FEW_GENDERS:
        return False
    # Without its accent, Italian for age is a time of arrival.
    accented = unicodedata.normalize("NFC", name.strip().lower()) == "et\u00e0"
    return accented or PROTECTED.fullmatch(plain) is not None
