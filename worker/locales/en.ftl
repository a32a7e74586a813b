# English. Not yet checked by a native reader.
# Variables: $app, $asked_at, $expires_at (a time with its zone), $minutes (a number).

language = English
subject = Your { $app } login code
# Follows the code and a space, and ends the sentence.
code-is = is your { $app } login code.
# Used in valid-for.
minutes = { $minutes ->
    [one] one minute
   *[other] { $minutes } minutes
  }
valid-for = You asked for it at { $asked_at }. It works for { minutes }, until { $expires_at }, and only once.
# Shown beside the subject in a list of mails.
preheader = Asked for at { $asked_at }, works until { $expires_at }.
not-asked = If you did not ask for this code, you can ignore this mail: nobody can sign in without it.
never-share = { $app } will never ask you to pass it on.
help = Need help?
