# Українська. Not yet checked by a native reader.
# Variables: $app, $asked_at, $expires_at (a time with its zone), $minutes (a number).

language = Українська
subject = Ваш код для входу в { $app }
# Follows the code and a space, and ends the sentence.
code-is = — ваш код для входу в { $app }.
# Used in valid-for.
minutes = { $minutes ->
    [one] { $minutes } хвилину
    [few] { $minutes } хвилини
    [many] { $minutes } хвилин
   *[other] { $minutes } хвилини
  }
valid-for = Запит о { $asked_at }. Код діє ще { minutes }, до { $expires_at }, і лише один раз.
# Shown beside the subject in a list of mails.
preheader = Запит о { $asked_at }, код діє до { $expires_at }.
not-asked = Якщо ви не просили цей код, не зважайте на цей лист: без коду ніхто не ввійде.
never-share = { $app } ніколи не попросить вас комусь його передати.
help = Потрібна допомога?
