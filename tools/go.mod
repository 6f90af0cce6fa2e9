module github.com/quorate/quorate/tools

go 1.26.0
