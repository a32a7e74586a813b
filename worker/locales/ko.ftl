# 한국어. Not yet checked by a native reader.
# Variables: $app, $asked_at, $expires_at (a time with its zone), $minutes (a number).

language = 한국어
subject = 로그인 코드: { $app }
# Follows the code and a space, and ends the sentence.
code-is = 코드로 { $app }에 로그인하세요.
# Used in valid-for.
minutes = { $minutes ->
   *[other] { $minutes }분
  }
valid-for = { $asked_at }에 요청하셨습니다. { minutes } 동안, { $expires_at }까지 한 번만 사용할 수 있습니다.
# Shown beside the subject in a list of mails.
preheader = { $asked_at }에 요청, { $expires_at }까지 사용 가능.
not-asked = 직접 요청하지 않으셨다면 이 메일을 무시하셔도 됩니다. 코드가 없으면 아무도 로그인할 수 없습니다.
never-share = { $app }에서는 이 코드를 다른 사람에게 알려 달라고 하지 않습니다.
help = 도움이 필요하신가요?
