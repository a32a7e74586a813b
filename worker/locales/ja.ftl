# 日本語. Not yet checked by a native reader.
# Variables: $app, $asked_at, $expires_at (a time with its zone), $minutes (a number).

language = 日本語
subject = ログインコード（{ $app }）
# Follows the code and a space, and ends the sentence.
code-is = が { $app } のログインコードです。
# Used in valid-for.
minutes = { $minutes ->
   *[other] { $minutes } 分
  }
valid-for = { $asked_at } にリクエストされました。有効期限はあと { minutes }（{ $expires_at } まで）で、使えるのは 1 回だけです。
# Shown beside the subject in a list of mails.
preheader = { $asked_at } にリクエスト、{ $expires_at } まで有効です。
not-asked = お心当たりがない場合は、このメールを無視してください。コードがなければ誰もログインできません。
never-share = { $app } がこのコードを他の人に伝えるようお願いすることはありません。
help = お困りですか？
