"""Learn: seven chapters, one at a time, each with something to move and questions that the page checks."""

from app.views.learn import lesson

lesson.show_chapters()
lesson.show(lesson.current())
