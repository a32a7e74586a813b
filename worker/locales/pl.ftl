# Polski. Not yet checked by a native reader.
# Variables: $app, $asked_at, $expires_at (a time with its zone), $minutes (a number).

language = Polski
subject = Twój kod logowania do { $app }
# Follows the code and a space, and ends the sentence.
code-is = to Twój kod logowania do { $app }.
# Used in valid-for.
minutes = { $minutes ->
    [one] minutę
    [few] { $minutes } minuty
    [many] { $minutes } minut
   *[other] { $minutes } minuty
  }
valid-for = Prośba o kod: { $asked_at }. Kod działa jeszcze przez { minutes }, do { $expires_at }, i tylko raz.
# Shown beside the subject in a list of mails.
preheader = Prośba o kod: { $asked_at }, działa do { $expires_at }.
not-asked = Jeśli to nie Ty prosisz o ten kod, zignoruj tę wiadomość: bez kodu nikt się nie zaloguje.
never-share = { $app } nigdy nie poprosi Cię o przekazanie go innym.
help = Potrzebujesz pomocy?
